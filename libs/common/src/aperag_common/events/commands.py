"""Commands: what a job wants done, as a message. They are made from the job's row at every dispatch."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from aperag_common.events.envelope import Data, Message

Generation = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""What the column holds: a larger one would be refused by the database at each delivery, for ever."""


class JobData(Data):
    """``row_id`` and ``generation`` name the job and the generation that the command is for."""

    row_id: str
    generation: Generation


class StepData(JobData):
    """``kind`` is that of the workflow's step."""

    document_id: str
    collection_id: str
    kind: str
    workflow_id: str


class PurgeData(JobData):
    collection_id: str


class UserPurgeData(JobData):
    user_id: str


class SummaryData(JobData):
    collection_id: str


class TurnData(JobData):
    pass


class ApplyIngestData(JobData):
    ingest_id: str


class DeliveryData(JobData):
    delivery_id: str


class JobCommand(Message):
    """Fields of its ``data`` are filled by name from the job's row (see ``aperag_work.rows``)."""

    data: JobData


class ParseDocument(JobCommand):
    type_name: ClassVar[str] = "document.parse"
    data: StepData


class RemoveDocument(JobCommand):
    """Remove what the parse made: chunks and the document's objects."""

    type_name: ClassVar[str] = "document.remove"
    data: StepData


class BuildIndex(JobCommand):
    type_name: ClassVar[str] = "index.build"
    data: StepData


class RemoveIndex(JobCommand):
    type_name: ClassVar[str] = "index.remove"
    data: StepData


class PurgeCollection(JobCommand):
    type_name: ClassVar[str] = "collection.purge"
    data: PurgeData


class PurgeUser(JobCommand):
    type_name: ClassVar[str] = "user.purge"
    data: UserPurgeData


class SummarizeCollection(JobCommand):
    type_name: ClassVar[str] = "collection.summarize"
    data: SummaryData


class DeliverWebhook(JobCommand):
    """Send one event to one endpoint."""

    type_name: ClassVar[str] = "webhook.deliver"
    data: DeliveryData


class RunTurn(JobCommand):
    type_name: ClassVar[str] = "turn.run"
    data: TurnData


class ApplyIngest(JobCommand):
    """Do to a document what an event of another service asks for."""

    type_name: ClassVar[str] = "ingest.apply"
    data: ApplyIngestData


COMMANDS: tuple[type[JobCommand], ...] = (
    ParseDocument,
    RemoveDocument,
    BuildIndex,
    RemoveIndex,
    PurgeCollection,
    PurgeUser,
    SummarizeCollection,
    DeliverWebhook,
    RunTurn,
    ApplyIngest,
)
