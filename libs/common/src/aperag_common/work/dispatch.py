"""A driven row's command: which subject, which message, under which id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.bus import subjects
from aperag_common.db.models.base import StepStatus
from aperag_common.db.models.document_step import StepKind
from aperag_common.events import commands

if TYPE_CHECKING:
    from aperag_common.events.envelope import Message

DELETING = (StepStatus.DELETING, StepStatus.DELETION_IN_PROGRESS)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One publish of one command. ``dispatch`` > 1 means that an earlier publish was not enough."""

    subject: subjects.Subject
    message: Message
    row_id: str
    generation: int
    dispatch: int
    traceparent: str | None

    @property
    def stream(self) -> str:
        return subjects.TURNS if self.subject == subjects.RUN_TURN else subjects.COMMANDS

    @property
    def message_id(self) -> str:
        """The server's dedup key is per stream, not per subject, and outlives the ack: it must name all four."""
        return f"{self.subject}:{self.row_id}:{self.generation}:{self.dispatch}"


@dataclass(frozen=True, slots=True)
class StepRow:
    """The columns of a document step that its command is made of; field names are column names."""

    id: str
    document_id: str
    collection_id: str
    owner: str
    kind: str
    status: str
    generation: int
    dispatch: int
    workflow_id: str
    traceparent: str | None


STEP_COLUMNS = "id, document_id, collection_id, owner, kind, status, generation, dispatch, workflow_id, traceparent"


def step_dispatch(row: StepRow, *, source: str) -> Dispatch:
    removing = row.status in DELETING
    data = commands.StepData(
        row_id=row.id,
        generation=row.generation,
        document_id=row.document_id,
        collection_id=row.collection_id,
        kind=row.kind,
        workflow_id=row.workflow_id,
    )
    if row.kind == StepKind.PARSE:
        command: type[Message] = commands.RemoveDocument if removing else commands.ParseDocument
        subject = subjects.REMOVE_DOCUMENT if removing else subjects.PARSE_DOCUMENT
    else:
        command = commands.RemoveIndex if removing else commands.BuildIndex
        subject = subjects.remove_index(row.kind) if removing else subjects.build_index(row.kind)
    message = command(
        source=source,
        type=command.type_name,
        subject=row.document_id,
        owner=row.owner,
        cause_id=row.workflow_id,
        data=data,
    )
    return Dispatch(subject, message, row.id, row.generation, row.dispatch, row.traceparent)


def purge_dispatch(
    collection_id: str, owner: str, generation: int, dispatch: int, traceparent: str | None, *, source: str
) -> Dispatch:
    message = commands.PurgeCollection(
        source=source,
        type=commands.PurgeCollection.type_name,
        subject=collection_id,
        owner=owner,
        data=commands.PurgeData(row_id=collection_id, generation=generation, collection_id=collection_id),
    )
    return Dispatch(subjects.PURGE_COLLECTION, message, collection_id, generation, dispatch, traceparent)


def user_purge_dispatch(
    user_id: str, owner: str, generation: int, dispatch: int, traceparent: str | None, *, source: str
) -> Dispatch:
    message = commands.PurgeUser(
        source=source,
        type=commands.PurgeUser.type_name,
        subject=user_id,
        owner=owner,
        data=commands.UserPurgeData(row_id=user_id, generation=generation, user_id=user_id),
    )
    return Dispatch(subjects.PURGE_USER, message, user_id, generation, dispatch, traceparent)


def summary_dispatch(
    collection_id: str, owner: str, generation: int, dispatch: int, traceparent: str | None, *, source: str
) -> Dispatch:
    message = commands.SummarizeCollection(
        source=source,
        type=commands.SummarizeCollection.type_name,
        subject=collection_id,
        owner=owner,
        data=commands.SummaryData(row_id=collection_id, generation=generation, collection_id=collection_id),
    )
    return Dispatch(subjects.SUMMARIZE_COLLECTION, message, collection_id, generation, dispatch, traceparent)


def turn_dispatch(
    turn_id: str, owner: str, generation: int, dispatch: int, traceparent: str | None, *, source: str
) -> Dispatch:
    message = commands.RunTurn(
        source=source,
        type=commands.RunTurn.type_name,
        subject=turn_id,
        owner=owner,
        data=commands.TurnData(row_id=turn_id, generation=generation),
    )
    return Dispatch(subjects.RUN_TURN, message, turn_id, generation, dispatch, traceparent)
