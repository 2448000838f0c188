"""A job as the engine reads it, and the command that is made of it: which subject, which message, under which id."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_common import subjects
from aperag_common.db.models.base import OPEN_SQL
from aperag_common.jobs.kind import JobKind, Wanted, Work, kind_of

if TYPE_CHECKING:
    from aperag_common.events.commands import JobCommand

OPEN = f"status IN {OPEN_SQL}"
UNSTARTED = "CASE WHEN wanted = 'present' THEN 'PENDING' ELSE 'DELETING' END"
"""The status of an open job that nobody works on."""
UNLEASED = "lease_token = NULL, lease_owner = NULL, lease_until = NULL"


def unindexed(condition: str) -> str:
    """A condition that chooses no index. Of a table that was never analyzed the planner takes any index whose condition
    is met for the cheapest way, and keeps that plan while the table grows: each claim would read all open jobs.
    """
    return f"CASE WHEN {condition} THEN true ELSE false END"


def locked(condition: str) -> str:
    """Jobs of which ``condition`` holds, locked in the order of their ids.

    Everybody locks in one order, so that no two transactions wait for each other: a collection or a webhook's endpoint,
    then documents, turns, deliveries or events of other services, then their jobs, then workflows; rows of one table in
    the order of their ids. Who waits for no lock (``SKIP LOCKED``) may take it out of turn.
    """
    return f"id IN (SELECT id FROM job WHERE {condition} ORDER BY id FOR UPDATE)"


FREE = "(lease_until IS NULL OR lease_until <= clock_timestamp())"
"""A lease that ends later than any policy sets it was taken before the database's clock was set back. It counts as held
all the same: the redrive makes it short again, and whoever lives renews it before it ends.
"""


@dataclass(frozen=True, slots=True)
class JobRow:
    """The columns of a job that its command and its events are made of; field names are column names."""

    id: str
    kind: str
    subject_id: str
    collection_id: str | None
    owner: str
    wanted: str
    status: str
    generation: int
    dispatch: int
    workflow_id: str | None
    traceparent: str | None

    @property
    def declared(self) -> JobKind:
        return kind_of(self.kind)

    @property
    def work(self) -> Work:
        return kind_of(self.kind).work(self.wanted)

    @property
    def removing(self) -> bool:
        return self.wanted == Wanted.ABSENT


NAMES = tuple(JobRow.__dataclass_fields__)


def columns_of(alias: str) -> str:
    """As a select list."""
    return ", ".join(f"{alias}.{name}" for name in NAMES)


@dataclass(frozen=True, slots=True)
class Dispatch:
    """One publish of a job's command. ``dispatch`` > 1 means that an earlier publish was not enough."""

    row: JobRow
    source: str

    @property
    def subject(self) -> subjects.Subject:
        return self.row.work.subject

    @property
    def stream(self) -> str:
        return subjects.stream_of(self.subject)

    @property
    def message_id(self) -> str:
        """The server's dedup key is per stream, not per subject, and outlives the ack: it must name all four."""
        row = self.row
        return f"{row.work.subject}:{row.id}:{row.generation}:{row.dispatch}"

    @property
    def message(self) -> JobCommand:
        """Fields of its data are filled by name; those that its class does not have are left out."""
        row = self.row
        command = row.work.command
        data: dict[str, Any] = {
            "row_id": row.id,
            "generation": row.generation,
            "kind": row.declared.shown,
            "workflow_id": row.workflow_id,
            "collection_id": row.collection_id,
            f"{row.declared.aggregate}_id": row.subject_id,
        }
        return command(
            source=self.source,
            type=command.type_name,
            subject=row.subject_id,
            owner=row.owner,
            cause_id=row.workflow_id,
            data=command.model_fields["data"].annotation(**data),  # type: ignore[misc]  # a class of ``JobData``
        )


def parse_message_id(message_id: str) -> tuple[str, int] | None:
    """The job and the generation that a command was published for; None for what is no command's id."""
    parts = message_id.split(":")
    if len(parts) != 4 or not parts[2].isdecimal() or not parts[1] or len(parts[2]) > 9:
        return None
    return parts[1], int(parts[2])
