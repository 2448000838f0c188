"""A locked document, and the one routine that makes its state follow from its steps.

Whoever changes a step holds the document's lock, which makes "the last open step" well defined: the workflow is
closed, and ``document.indexed`` published, exactly once.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.workflow import Outcome, WorkflowStatus
from aperag_common.events import facts
from aperag_common.telemetry import propagate
from aperag_common.work import derive, outbox

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.events.envelope import Message

# In one order for everybody, so that two transactions never wait for each other.
_LOCKING = """
    SELECT id, collection_id, owner, name, status, revision, deleted_at IS NOT NULL AS deleted
    FROM document WHERE id = ANY(:ids) ORDER BY id FOR UPDATE
    """
_LOCK = text(_LOCKING)
_LOCK_FREE = text(f"{_LOCKING} SKIP LOCKED")

# The update's own effect is not visible to the selects beside it; ``_outcomes`` lays it over what they read.
_CLOSE_AND_READ = text(
    """
    WITH closing AS (
        SELECT * FROM unnest(CAST(:workflows AS text[]), CAST(:kinds AS text[]), CAST(:outcomes AS text[]))
            AS c(workflow_id, kind, outcome)
    ), closed AS (
        UPDATE workflow_step s SET outcome = c.outcome, finished = clock_timestamp()
        FROM closing c WHERE s.workflow_id = c.workflow_id AND s.kind = c.kind AND s.outcome = 'open'
    )
    SELECT
        (SELECT coalesce(json_agg(json_build_object(
            'document_id', document_id, 'kind', kind, 'status', status, 'generation', generation,
            'observed_generation', observed_generation)), '[]')
         FROM document_step WHERE document_id = ANY(:documents)) AS steps,
        (SELECT coalesce(json_agg(json_build_object(
            'workflow_id', s.workflow_id, 'kind', s.kind, 'outcome', s.outcome)), '[]')
         FROM workflow_step s JOIN workflow w ON w.id = s.workflow_id
         WHERE w.status = 'RUNNING' AND s.workflow_id = ANY(:workflows)) AS outcomes
    """
)

_WRITE = text(
    """
    WITH stated AS (
        UPDATE document d SET status = n.status, revision = n.revision, updated = clock_timestamp()
        FROM unnest(CAST(:documents AS text[]), CAST(:states AS text[]), CAST(:revisions AS int[]))
            AS n(id, status, revision) WHERE d.id = n.id
    ), ended AS (
        UPDATE workflow w SET status = e.status, finished = clock_timestamp()
        FROM unnest(CAST(:workflows AS text[]), CAST(:statuses AS text[])) AS e(id, status) WHERE w.id = e.id
        RETURNING w.document_id, w.kind, w.status, extract(epoch FROM clock_timestamp() - w.created)::float AS seconds
    )
    SELECT document_id, seconds FROM ended WHERE status = 'SUCCESS' AND kind <> 'delete'
    """
)


@dataclass(frozen=True, slots=True)
class LockedDocument:
    """A document row held FOR UPDATE by the current transaction."""

    id: str
    collection_id: str
    owner: str
    name: str
    status: str
    revision: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class Closing:
    """One step of a workflow that ends with this transaction."""

    workflow_id: str
    kind: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that waits for the document's new status and revision; ``details`` are ``DocumentData``'s own fields."""

    fact: type[facts.DocumentFact]
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Conclusion:
    """What a transaction did to one locked document besides its steps."""

    document: LockedDocument
    closings: Sequence[Closing]
    drafts: Sequence[Draft]
    traceparent: str | None = None
    """Of the span that the change belongs to, where that is not the current one."""


@dataclass(frozen=True, slots=True)
class Concluded:
    """``facts`` wait for their relay; ``ended`` says that a workflow has; ``ended_after`` as in ``Change``."""

    facts: tuple[outbox.Fact, ...]
    ended: bool
    ended_after: tuple[float, ...]


async def lock(conn: AsyncConnection, document_id: str) -> LockedDocument | None:
    return (await lock_all(conn, [document_id])).get(document_id)


async def lock_all(
    conn: AsyncConnection, document_ids: Iterable[str], *, wait: bool = True
) -> dict[str, LockedDocument]:
    """Those that exist, by id; unless ``wait``, only those of them that nobody else holds.

    A transaction over several documents takes all of them first, and with this: locked one after the other, between
    their steps, they would deadlock with a worker that ends steps of both.
    """
    rows = await conn.execute(_LOCK if wait else _LOCK_FREE, {"ids": sorted(set(document_ids))})
    return {row.id: LockedDocument(**row._mapping) for row in rows}


def message_of(draft: Draft, document: LockedDocument, source: str) -> Message:
    """``document`` as it is after the change."""
    data = facts.DocumentData(
        document_id=document.id,
        collection_id=document.collection_id,
        revision=document.revision,
        status=document.status,
        name=document.name,
        **draft.details,
    )
    return draft.fact(
        source=source,
        type=draft.fact.type_name,
        subject=document.id,
        owner=document.owner,
        cause_id=data.workflow_id,
        data=data,
    )


async def conclude(conn: AsyncConnection, *conclusions: Conclusion, source: str) -> list[Concluded]:
    """After the steps have been written: states, workflows and events, in the same transaction.

    Three statements, however many documents there are; the answers are in their order.
    """
    closings = [closing for c in conclusions for closing in c.closings]
    parameters = {
        "workflows": [c.workflow_id for c in closings],
        "kinds": [c.kind for c in closings],
        "outcomes": [c.outcome.value for c in closings],
        "documents": [c.document.id for c in conclusions],
    }
    read = (await conn.execute(_CLOSE_AND_READ, parameters)).one()
    after = [_after(c.document, read.steps) for c in conclusions]
    ended = [_ended(read.outcomes, c.closings) for c in conclusions]
    written = await _write(conn, after, ended)
    rows = [_facts(c, a, e, source) for c, a, e in zip(conclusions, after, ended, strict=True)]
    await outbox.add(conn, [row for of_document in rows for row in of_document])
    return [
        Concluded(facts_, bool(over), tuple(seconds for document_id, seconds in written if document_id == document.id))
        for facts_, over, document in zip(rows, ended, after, strict=True)
    ]


async def _write(
    conn: AsyncConnection, documents: Sequence[LockedDocument], ended: Sequence[dict[str, WorkflowStatus]]
) -> list[tuple[str, float]]:
    """(document, seconds since the request) of each workflow that ended well."""
    statuses = {workflow_id: status for of_document in ended for workflow_id, status in of_document.items()}
    parameters = {
        "documents": [d.id for d in documents],
        "states": [d.status for d in documents],
        "revisions": [d.revision for d in documents],
        "workflows": list(statuses),
        "statuses": [status.value for status in statuses.values()],
    }
    return [(row.document_id, row.seconds) for row in await conn.execute(_WRITE, parameters)]


def _after(document: LockedDocument, steps: Sequence[dict[str, Any]]) -> LockedDocument:
    """The document as it is once this transaction has ended."""
    status = DocumentStatus.DELETED
    if not document.deleted:
        own = (
            derive.StepState(s["kind"], s["status"], s["generation"], s["observed_generation"])
            for s in steps
            if s["document_id"] == document.id
        )
        status = derive.document_status(own)
    return replace(document, status=status.value, revision=document.revision + 1)


def _facts(
    conclusion: Conclusion, after: LockedDocument, ended: dict[str, WorkflowStatus], source: str
) -> tuple[outbox.Fact, ...]:
    ends = (Draft(facts.DocumentIndexed, {"workflow_id": w, "outcome": o.value}) for w, o in ended.items())
    traceparent = conclusion.traceparent or propagate.current_traceparent()
    return tuple(outbox.fact(message_of(draft, after, source), traceparent) for draft in (*conclusion.drafts, *ends))


def _ended(outcomes: Sequence[dict[str, str]], closings: Sequence[Closing]) -> dict[str, WorkflowStatus]:
    now = {(c.workflow_id, c.kind): c.outcome for c in closings}
    ended: dict[str, WorkflowStatus] = {}
    for workflow_id in sorted({c.workflow_id for c in closings}):
        of_workflow = {o["kind"]: o["outcome"] for o in outcomes if o["workflow_id"] == workflow_id}
        for kind, outcome in of_workflow.items():
            if outcome == Outcome.OPEN and (workflow_id, kind) in now:
                of_workflow[kind] = now[workflow_id, kind]
        status = derive.workflow_status(of_workflow) if of_workflow else WorkflowStatus.RUNNING
        if status is not WorkflowStatus.RUNNING:
            ended[workflow_id] = status
    return ended
