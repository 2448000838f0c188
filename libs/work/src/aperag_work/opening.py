"""Opening a workflow: jobs are raised to a new generation, older workflows let go, the first commands made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common import ids
from aperag_common.db.models.workflow import Outcome, WorkflowKind
from aperag_common.events import facts
from aperag_common.jobs.declared import DOCUMENTS, PARSE
from aperag_common.jobs.kind import Wanted, kinds_in
from aperag_common.jobs.steps import StepKind
from aperag_common.telemetry import propagate
from aperag_work import transitions
from aperag_work.accepting import IN_FLIGHT
from aperag_work.change import Change
from aperag_work.database import Statement, columns, driver
from aperag_work.document_rows import LockedDocument, step_of
from aperag_work.effects import Draft, Effects, StepEnd, apply_effects
from aperag_work.rows import Dispatch, JobRow
from aperag_work.transitions import Wish

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.db.models.base import Lane
    from aperag_work.database import Connection

SOURCE = "api"

_IN_FLIGHT = Statement("count subjects in flight", IN_FLIGHT.format(owner="$1::text", kinds="$2::text[]"))

_OPEN_OF_DOCUMENTS = Statement(
    "read open workflow steps",
    """
    SELECT w.document_id, s.workflow_id, s.kind
    FROM workflow w CROSS JOIN LATERAL (
        SELECT workflow_id, kind FROM workflow_step
        WHERE workflow_id = w.id AND outcome = 'open' AND kind = ANY($2::text[]) OFFSET 0
    ) s
    WHERE w.document_id = ANY($1::text[]) AND w.status = 'RUNNING'
    ORDER BY s.workflow_id, s.kind
    """,
)

_INSERT_WORKFLOWS = Statement(
    "insert workflows",
    """
    WITH opened AS (
        INSERT INTO workflow (id, document_id, collection_id, owner, kind, status, traceparent)
        SELECT w.id, w.document_id, w.collection_id, w.owner, $5::text, 'RUNNING', $6::text
        FROM unnest($1::text[], $2::text[], $3::text[], $4::text[]) AS w(id, document_id, collection_id, owner)
    )
    INSERT INTO workflow_step (workflow_id, kind, generation, outcome)
    SELECT s.workflow_id, s.kind, s.generation, 'open'
    FROM unnest($7::text[], $8::text[], $9::int[]) AS s(workflow_id, kind, generation)
    RETURNING workflow_id
    """,
)


@dataclass(frozen=True, slots=True)
class Admission:
    """How a change enters the queue: its lane, the owner's share of slots, when its command counts as lost."""

    lane: Lane
    in_flight_per_owner: int
    first_due: timedelta


async def in_flight(conn: Connection, owner: str, group: str) -> int:
    """Subjects of one owner that are being worked on, of the kinds that fair release counts together."""
    return int(await _IN_FLIGHT.value(conn, owner, kinds_in(group)))


async def begin(
    conn: AsyncConnection | Connection,
    documents: Sequence[LockedDocument],
    kind: WorkflowKind,
    kinds: Sequence[StepKind],
    admission: Admission,
) -> list[Change]:
    """Open one workflow per document over ``parse`` and ``kinds``, and send the parses that have a free slot."""
    raw = await driver(conn)
    traceparent = propagate.current_traceparent()
    free = admission.in_flight_per_owner - await in_flight(raw, documents[0].owner, DOCUMENTS)
    workflows = {d.id: str(ids.new_workflow_id()) for d in documents}
    released = {d.id: int(position < free) for position, d in enumerate(documents)}
    wanted = (StepKind.PARSE, *(k for k in kinds if k is not StepKind.PARSE))
    superseded = {} if kind is WorkflowKind.UPLOAD else await superseded_closings(raw, documents, wanted)
    jobs = await want_jobs(raw, documents, wanted, workflows, released, admission, traceparent)
    await insert_workflows(raw, documents, workflows, kind, jobs, traceparent)
    effects = [Effects(d, superseded.get(d.id, []), _opened(kind, workflow_id=workflows[d.id])) for d in documents]
    applied = await apply_effects(raw, *effects, source=SOURCE)
    parses = {it.subject_id: it for it in jobs if it.kind == PARSE.name and it.dispatch > 0}
    return [
        Change((Dispatch(parses[d.id], SOURCE),) if d.id in parses else (), done.events, d.id, workflows[d.id])
        for d, done in zip(documents, applied, strict=True)
    ]


def _opened(kind: WorkflowKind, *, workflow_id: str) -> list[Draft]:
    return [Draft(facts.DocumentUploaded, {"workflow_id": workflow_id})] if kind is WorkflowKind.UPLOAD else []


async def want_jobs(
    conn: Connection,
    documents: Sequence[LockedDocument],
    kinds: Sequence[StepKind],
    workflows: Mapping[str, str],
    released: Mapping[str, int],
    admission: Admission,
    traceparent: str | None,
    *,
    wanted: Wanted = Wanted.PRESENT,
) -> list[JobRow]:
    """Jobs that come after another one wait for it; a removal waits for nobody."""
    wishes = [
        Wish(
            kind.job,
            document.id,
            document.owner,
            document.collection_id,
            workflows[document.id],
            dispatch=1 if wanted is Wanted.ABSENT else released[document.id] if kind is StepKind.PARSE else 0,
            waits=wanted is Wanted.PRESENT and kind is not StepKind.PARSE,
        )
        for document in documents
        for kind in kinds
    ]
    made = await transitions.want(
        conn, PARSE, wishes, wanted=wanted, lane=admission.lane, first_due=admission.first_due, traceparent=traceparent
    )
    return [row for row, _ in made]


async def superseded_closings(
    conn: Connection, documents: Sequence[LockedDocument], kinds: Iterable[StepKind]
) -> dict[str, list[StepEnd]]:
    """By document, the open steps of older workflows that a new generation of these kinds takes the place of."""
    found: dict[str, list[StepEnd]] = {}
    for row in await _OPEN_OF_DOCUMENTS.fetch(conn, [d.id for d in documents], [kind.value for kind in kinds]):
        ended = StepEnd(row["workflow_id"], row["kind"], Outcome.SUPERSEDED)
        found.setdefault(row["document_id"], []).append(ended)
    return found


async def insert_workflows(
    conn: Connection,
    documents: Sequence[LockedDocument],
    workflows: Mapping[str, str],
    kind: WorkflowKind,
    jobs: Sequence[JobRow],
    traceparent: str | None,
) -> None:
    await _INSERT_WORKFLOWS.fetch(
        conn,
        [workflows[d.id] for d in documents],
        *columns(documents, "id", "collection_id", "owner"),
        kind.value,
        traceparent,
        [job.workflow_id for job in jobs],
        [step_of(job) for job in jobs],
        [job.generation for job in jobs],
    )
