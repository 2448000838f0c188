"""Accepting new documents: rows, jobs, workflows and events of a whole request in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common import ids
from aperag_common.db.models.document import DocumentStatus
from aperag_common.events import facts
from aperag_common.jobs.declared import DOCUMENTS
from aperag_common.jobs.kind import kinds_in
from aperag_common.jobs.steps import StepKind
from aperag_common.telemetry import propagate
from aperag_work import outbox
from aperag_work.change import Change
from aperag_work.database import Statement, columns, driver
from aperag_work.document_rows import LockedDocument
from aperag_work.effects import Draft, message_of
from aperag_work.rows import OPEN, Dispatch, JobRow, columns_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.database import Connection
    from aperag_work.opening import Admission

SOURCE = "api"
FIRST_REVISION = 1
FIRST_OF_CONDITION = 24
"""The number of the first argument of a condition."""

IN_FLIGHT = f"""
    SELECT count(DISTINCT subject_id) FROM job
    WHERE owner = {{owner}} AND dispatch > 0 AND {OPEN} AND kind = ANY({{kinds}}) AND NOT (failures > 0 AND lease_token IS NULL)
"""
"""Subjects of one owner that are being worked on; those that wait for a retry hold up nobody."""

PUBLISHED = f"""
    SELECT count(*) FROM job WHERE owner = {{owner}} AND dispatch > 0 AND {OPEN} AND kind = ANY({{kinds}})
"""
"""Of kinds that are released by their due time: what waits for a retry is not published, and so not counted."""

# Nothing can be known of these documents before, so there is nothing to lock, to supersede or to derive.
_ACCEPTING = f"""
    WITH {{allowed}}, flight AS MATERIALIZED (SELECT ({IN_FLIGHT.format(owner="$1::text", kinds="$2::text[]")}) AS documents), new AS (
        SELECT * FROM unnest($3::text[], $4::text[], $5::bigint[], $6::text[], $7::text[], $8::text[])
            WITH ORDINALITY AS n(id, name, size, sha256, object_path, workflow_id, position)
        WHERE EXISTS (SELECT FROM allowed)
    ), stored AS (
        INSERT INTO document (id, collection_id, chat_id, owner, name, status, size, sha256, object_path, revision,
            details)
        SELECT id, $10::text, $11::text, $1::text, name, 'PENDING', size, sha256, object_path, {FIRST_REVISION}, '{{{{}}}}'
        FROM new ORDER BY name
    ), opened AS (
        INSERT INTO workflow (id, document_id, collection_id, owner, kind, status, traceparent)
        SELECT workflow_id, id, $10::text, $1::text, 'upload', 'RUNNING', $12::text FROM new
    ), expected AS (
        INSERT INTO workflow_step (workflow_id, kind, generation, outcome)
        SELECT new.workflow_id, k.step, 1, 'open' FROM new CROSS JOIN unnest($9::text[]) AS k(step)
    ), announced AS (
        {outbox.INSERTED.format(ids="$13", subjects="$14", payloads="$15", traceparents="$16")}
        WHERE EXISTS (SELECT FROM allowed)
    )
    INSERT INTO job AS j (id, kind, subject_id, collection_id, owner, workflow_id, wanted, status, lane, dispatch,
        due_at, traceparent)
    SELECT s.job_id, s.kind, s.document_id, $10::text, $1::text, new.workflow_id, 'present', 'PENDING', $17::text,
        s.first::int * (new.position <= $18::int - flight.documents)::int,
        CASE WHEN NOT s.first THEN 'infinity'
             WHEN new.position <= $18::int - flight.documents THEN clock_timestamp() + $19::interval
             ELSE clock_timestamp() END, $12::text
    FROM unnest($20::text[], $21::text[], $22::text[], $23::bool[]) AS s(job_id, document_id, kind, first)
        JOIN new ON new.id = s.document_id CROSS JOIN flight
    RETURNING {columns_of("j")}, j.updated
    """
_ACCEPT = Statement("accept documents", _ACCEPTING.format(allowed="allowed AS (SELECT 1)"))


@dataclass(frozen=True, slots=True)
class Condition:
    """Part of the statement that accepts documents: where it does not hold, nothing is accepted."""

    statement: Statement
    arguments: tuple[object, ...] = ()

    @classmethod
    def of(cls, name: str, allowed: str) -> Condition:
        """``allowed`` holds CTEs, the last one of this name, which has a row where the condition holds.

        Their arguments begin with FIRST_OF_CONDITION; $1 is the owner, $10 the collection.
        """
        return cls(Statement(name, _ACCEPTING.format(allowed=allowed)))

    def given(self, *arguments: object) -> Condition:
        return Condition(self.statement, arguments)


UNCONDITIONAL = Condition(_ACCEPT)


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document whose bytes already lie at ``object_path``; ``chat_id`` of a chat's file."""

    id: str
    collection_id: str
    owner: str
    name: str
    size: int
    sha256: str
    object_path: str
    chat_id: str | None = None


@dataclass(frozen=True, slots=True)
class Accepted:
    """One change per document, in their order; ``at`` is when the rows say that it was."""

    changes: list[Change]
    at: datetime


async def accept(
    conn: AsyncConnection | Connection,
    documents: Sequence[NewDocument],
    kinds: Iterable[StepKind],
    admission: Admission,
) -> list[Change]:
    """One change per document, in the order given."""
    accepted = await accept_where(conn, documents, kinds, admission, UNCONDITIONAL)
    return [] if accepted is None else accepted.changes


async def accept_where(
    conn: AsyncConnection | Connection,
    documents: Sequence[NewDocument],
    kinds: Iterable[StepKind],
    admission: Admission,
    condition: Condition,
) -> Accepted | None:
    """Documents are all of one collection, or one chat, which the caller or the condition keeps from being deleted.

    None where the condition does not hold. The schema refuses a name that is taken.
    """
    traceparent = propagate.current_traceparent()
    wanted = (StepKind.PARSE, *(kind for kind in kinds if kind is not StepKind.PARSE))
    workflows = [str(ids.new_workflow_id()) for _ in documents]
    events = [_uploaded(d, w, traceparent) for d, w in zip(documents, workflows, strict=True)]
    pairs = [(document.id, kind) for document in documents for kind in wanted]
    rows = await condition.statement.fetch(
        await driver(conn),
        documents[0].owner,
        kinds_in(DOCUMENTS),
        *columns(documents, "id", "name", "size", "sha256", "object_path"),
        workflows,
        [kind.value for kind in wanted],
        documents[0].collection_id,
        documents[0].chat_id,
        traceparent,
        *outbox.arguments(events),
        admission.lane.value,
        admission.in_flight_per_owner,
        admission.first_due,
        [str(ids.new_job_id()) for _ in pairs],
        [document_id for document_id, _ in pairs],
        [kind.job for _, kind in pairs],
        [kind is StepKind.PARSE for _, kind in pairs],
        *condition.arguments,
    )
    if not rows:
        return None
    made = zip(documents, events, workflows, strict=True)
    return Accepted(_changes(made, [JobRow(*row[:-1]) for row in rows]), rows[0]["updated"])


def _changes(made: Iterable[tuple[NewDocument, outbox.OutboxEvent, str]], jobs: Iterable[JobRow]) -> list[Change]:
    sent = {job.subject_id: (Dispatch(job, SOURCE),) for job in jobs if job.dispatch > 0}
    return [
        Change(sent.get(document.id, ()), (event,), document.id, workflow_id) for document, event, workflow_id in made
    ]


def _uploaded(document: NewDocument, workflow_id: str, traceparent: str | None) -> outbox.OutboxEvent:
    stored = LockedDocument(
        document.id,
        document.collection_id,
        document.owner,
        document.name,
        DocumentStatus.PENDING.value,
        FIRST_REVISION,
        deleted=False,
    )
    draft = Draft(facts.DocumentUploaded, {"workflow_id": workflow_id})
    return outbox.event(message_of(draft, stored, SOURCE), traceparent)
