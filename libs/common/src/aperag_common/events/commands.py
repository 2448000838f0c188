"""Commands: what a driven row wants done, as a message. They are re-made from the row at every dispatch."""

from __future__ import annotations

from typing import Annotated, ClassVar

from pydantic import Field

from aperag_common.events.envelope import Data, Message

Generation = Annotated[int, Field(ge=0, le=2**31 - 1)]
"""What the column holds: a larger one would be refused by the database at each delivery, for ever."""


class StepData(Data):
    """``row_id`` and ``generation`` name the driven row and the generation the command is for."""

    row_id: str
    generation: Generation
    document_id: str
    collection_id: str
    kind: str
    workflow_id: str


class PurgeData(Data):
    row_id: str
    generation: Generation
    collection_id: str


class UserPurgeData(Data):
    row_id: str
    generation: Generation
    user_id: str


class SummaryData(Data):
    row_id: str
    generation: Generation
    collection_id: str


class TurnData(Data):
    row_id: str
    generation: Generation


class ParseDocument(Message):
    type_name: ClassVar[str] = "document.parse"
    data: StepData


class RemoveDocument(Message):
    """Remove what the parse step made: chunks and the document's objects."""

    type_name: ClassVar[str] = "document.remove"
    data: StepData


class BuildIndex(Message):
    type_name: ClassVar[str] = "index.build"
    data: StepData


class RemoveIndex(Message):
    type_name: ClassVar[str] = "index.remove"
    data: StepData


class PurgeCollection(Message):
    type_name: ClassVar[str] = "collection.purge"
    data: PurgeData


class PurgeUser(Message):
    type_name: ClassVar[str] = "user.purge"
    data: UserPurgeData


class SummarizeCollection(Message):
    type_name: ClassVar[str] = "collection.summarize"
    data: SummaryData


StepCommand = ParseDocument | RemoveDocument | BuildIndex | RemoveIndex


class RunTurn(Message):
    type_name: ClassVar[str] = "turn.run"
    data: TurnData


RowCommand = PurgeCollection | PurgeUser | SummarizeCollection | RunTurn
"""Of driven rows that are no document steps."""
COMMANDS: tuple[type[Message], ...] = (
    ParseDocument,
    RemoveDocument,
    BuildIndex,
    RemoveIndex,
    PurgeCollection,
    PurgeUser,
    SummarizeCollection,
    RunTurn,
)
