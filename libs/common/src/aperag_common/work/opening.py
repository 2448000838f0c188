"""Opening a workflow: steps are raised to a new generation, older workflows let go, the first commands made."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, text

from aperag_common import ids
from aperag_common.db.models import Workflow, WorkflowStep
from aperag_common.db.models.base import OPEN_SQL, Lane
from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import Outcome, WorkflowKind
from aperag_common.events import facts
from aperag_common.telemetry import propagate
from aperag_common.work.change import Change
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.documents import Closing, Conclusion, Draft, LockedDocument, conclude

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

SOURCE = "api"

_IN_FLIGHT = text(
    f"""
    SELECT count(DISTINCT document_id) FROM document_step
    WHERE owner = :owner AND dispatch > 0 AND status IN {OPEN_SQL}
    """
)

# One row per (document, kind): a new one, or the next generation of the one that is there. A raise clears the
# lease, so whoever still works on the older generation is fenced off.
_RAISE_STEPS = text(
    f"""
    INSERT INTO document_step (id, document_id, collection_id, owner, kind, status, generation, observed_generation,
        dispatch, attempt, failures, due_at, lane, workflow_id, traceparent, data)
    SELECT s.id, s.document_id, :collection, :owner, s.kind, 'PENDING', 1, 0, s.dispatch, 0, 0,
        CASE WHEN s.kind <> 'parse' THEN 'infinity'
             WHEN s.dispatch > 0 THEN clock_timestamp() + :first_due ELSE clock_timestamp() END,
        :lane, s.workflow_id, :traceparent, '{{}}'
    FROM unnest(CAST(:ids AS text[]), CAST(:documents AS text[]), CAST(:kinds AS text[]), CAST(:dispatches AS int[]),
        CAST(:workflows AS text[])) AS s(id, document_id, kind, dispatch, workflow_id)
    ON CONFLICT (document_id, kind) DO UPDATE SET
        status = 'PENDING', generation = document_step.generation + 1, dispatch = excluded.dispatch, attempt = 0,
        failures = 0, due_at = excluded.due_at, lane = excluded.lane, workflow_id = excluded.workflow_id,
        traceparent = excluded.traceparent, lease_token = NULL, lease_owner = NULL, lease_until = NULL,
        error_code = NULL, error_message = NULL, worker = NULL, failed_attempts = '[]', started_at = NULL,
        settled_at = NULL, updated = clock_timestamp()
    RETURNING {STEP_COLUMNS}
    """
)

# Each workflow's steps by their key, whatever the planner believes of how many there are: without statistics it would
# read all open steps of everybody, once per document.
_OPEN_OF_DOCUMENT = text(
    """
    SELECT s.workflow_id, s.kind
    FROM workflow w CROSS JOIN LATERAL (
        SELECT workflow_id, kind FROM workflow_step
        WHERE workflow_id = w.id AND outcome = 'open' AND kind = ANY(:kinds) OFFSET 0
    ) s
    WHERE w.document_id = :document AND w.status = 'RUNNING'
    ORDER BY s.workflow_id, s.kind
    """
)


@dataclass(frozen=True, slots=True)
class Pace:
    """How a change enters the queue: its lane, the owner's share of slots, when its command counts as lost."""

    lane: Lane
    in_flight_per_owner: int
    first_due: timedelta


async def begin(
    conn: AsyncConnection,
    documents: Sequence[LockedDocument],
    kind: WorkflowKind,
    kinds: Sequence[StepKind],
    pace: Pace,
) -> list[Change]:
    """Open one workflow per document over ``parse`` and ``kinds``, and send the parses that have a free slot."""
    owner = documents[0].owner
    traceparent = propagate.current_traceparent()
    free = pace.in_flight_per_owner - int((await conn.execute(_IN_FLIGHT, {"owner": owner})).scalar_one())
    workflows = {d.id: str(ids.new_workflow_id()) for d in documents}
    released = {d.id: int(position < free) for position, d in enumerate(documents)}
    wanted = (StepKind.PARSE, *(k for k in kinds if k is not StepKind.PARSE))
    superseded: dict[str, list[Closing]] = {}
    if kind is not WorkflowKind.UPLOAD:
        for document in documents:
            superseded[document.id] = await superseded_closings(conn, document.id, [k.value for k in wanted])
    steps = await raise_steps(conn, documents, wanted, workflows, released, pace, traceparent)
    await insert_workflows(conn, documents, workflows, kind, steps, traceparent)
    conclusions = [
        Conclusion(d, superseded.get(d.id, []), _opened(kind, workflow_id=workflows[d.id])) for d in documents
    ]
    concluded = await conclude(conn, *conclusions, source=SOURCE)
    parses = {s.document_id: s for s in steps if s.kind == StepKind.PARSE and s.dispatch > 0}
    return [
        Change(
            (step_dispatch(parses[d.id], source=SOURCE),) if d.id in parses else (),
            done.facts,
            d.id,
            workflows[d.id],
        )
        for d, done in zip(documents, concluded, strict=True)
    ]


def _opened(kind: WorkflowKind, *, workflow_id: str) -> list[Draft]:
    return [Draft(facts.DocumentUploaded, {"workflow_id": workflow_id})] if kind is WorkflowKind.UPLOAD else []


async def raise_steps(
    conn: AsyncConnection,
    documents: Sequence[LockedDocument],
    kinds: Sequence[StepKind],
    workflows: dict[str, Any],
    released: dict[str, int],
    pace: Pace,
    traceparent: str | None,
) -> list[StepRow]:
    pairs = [(d.id, k) for d in documents for k in kinds]
    result = await conn.execute(
        _RAISE_STEPS,
        {
            "collection": documents[0].collection_id,
            "owner": documents[0].owner,
            "lane": pace.lane.value,
            "first_due": pace.first_due,
            "traceparent": traceparent,
            "ids": [str(ids.new_step_id()) for _ in pairs],
            "documents": [document_id for document_id, _ in pairs],
            "kinds": [kind.value for _, kind in pairs],
            "dispatches": [released[d] if k is StepKind.PARSE else 0 for d, k in pairs],
            "workflows": [workflows[document_id] for document_id, _ in pairs],
        },
    )
    return [StepRow(**row._mapping) for row in result]


async def superseded_closings(conn: AsyncConnection, document_id: str, kinds: Iterable[str]) -> list[Closing]:
    rows = await conn.execute(_OPEN_OF_DOCUMENT, {"document": document_id, "kinds": list(kinds)})
    return [Closing(row.workflow_id, row.kind, Outcome.SUPERSEDED) for row in rows]


async def insert_workflows(
    conn: AsyncConnection,
    documents: Sequence[LockedDocument],
    workflows: dict[str, Any],
    kind: WorkflowKind,
    steps: Sequence[StepRow],
    traceparent: str | None,
) -> None:
    await conn.execute(
        insert(Workflow),
        [
            {
                "id": workflows[d.id],
                "document_id": d.id,
                "collection_id": d.collection_id,
                "owner": d.owner,
                "kind": kind,
                "traceparent": traceparent,
            }
            for d in documents
        ],
    )
    await conn.execute(
        insert(WorkflowStep),
        [{"workflow_id": s.workflow_id, "kind": s.kind, "generation": s.generation} for s in steps],
    )
