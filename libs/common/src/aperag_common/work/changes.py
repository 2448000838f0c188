"""What people ask of a document, as one transaction each: upload, confirm, rebuild, delete.

Every function works inside the caller's transaction and returns the ``Change`` to deliver after its commit.
Locks are taken in the order collection, document, step, workflow. Transitions made here are the gateway's.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import insert, text

from aperag_common import errors, ids
from aperag_common.bus.topology import BUILT_KINDS
from aperag_common.db.models import Document, Workflow, WorkflowStep
from aperag_common.db.models.base import Lane
from aperag_common.db.models.collection import CollectionStatus
from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import Outcome, WorkflowKind
from aperag_common.events import facts
from aperag_common.telemetry import propagate
from aperag_common.work import outbox
from aperag_common.work.change import Change
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, purge_dispatch, step_dispatch
from aperag_common.work.documents import Closing, Draft, LockedDocument, conclude, lock

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

SOURCE = "api"

_SHARE_COLLECTION = text("SELECT status FROM collection WHERE id = :id AND owner = :owner FOR SHARE")

_IN_FLIGHT = text(
    """
    SELECT count(DISTINCT document_id) FROM document_step
    WHERE owner = :owner AND dispatch > 0 AND status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')
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
        error_code = NULL, error_message = NULL, started_at = NULL, settled_at = NULL, updated = clock_timestamp()
    RETURNING {STEP_COLUMNS}
    """
)

_REMOVE_STEPS = text(
    f"""
    UPDATE document_step SET status = 'DELETING', generation = generation + 1, dispatch = 1, attempt = 0, failures = 0,
        due_at = clock_timestamp() + :first_due, workflow_id = :workflow, traceparent = :traceparent,
        lease_token = NULL, lease_owner = NULL, lease_until = NULL, error_code = NULL, error_message = NULL,
        started_at = NULL, settled_at = NULL, updated = clock_timestamp()
    WHERE document_id = :document
    RETURNING {STEP_COLUMNS}
    """
)

_OPEN_OF_DOCUMENT = text(
    """
    SELECT s.workflow_id, s.kind FROM workflow_step s JOIN workflow w ON w.id = s.workflow_id
    WHERE w.document_id = :document AND w.status = 'RUNNING' AND s.outcome = 'open' AND s.kind = ANY(:kinds)
    ORDER BY s.workflow_id, s.kind
    """
)


@dataclass(frozen=True, slots=True)
class NewDocument:
    """A document whose bytes already lie at ``object_path``."""

    id: str
    collection_id: str
    owner: str
    name: str
    size: int
    sha256: str
    object_path: str


@dataclass(frozen=True, slots=True)
class Pace:
    """How a change enters the queue: its lane, the owner's share of slots, when its command counts as lost."""

    lane: Lane
    in_flight_per_owner: int
    first_due: timedelta


async def share_collection(conn: AsyncConnection, collection_id: str, owner: str) -> None:
    """Keep the collection from being deleted until this transaction ends; raises when it already is."""
    status = (await conn.execute(_SHARE_COLLECTION, {"id": collection_id, "owner": owner})).scalar()
    if status is None or status == CollectionStatus.DELETED:
        message = f"Collection {collection_id} not found"
        raise errors.CollectionNotFound(message)
    if status != CollectionStatus.ACTIVE:
        message = f"Collection {collection_id} is not active"
        raise errors.CollectionInactive(message)


async def stage(conn: AsyncConnection, document: NewDocument) -> None:
    """The first half of the two-step upload: a row UPLOADED, no steps yet."""
    await share_collection(conn, document.collection_id, document.owner)
    await conn.execute(insert(Document), [{**asdict(document), "status": DocumentStatus.UPLOADED, "details": {}}])


async def upload(
    conn: AsyncConnection, documents: Sequence[NewDocument], *, kinds: Sequence[StepKind], pace: Pace
) -> list[Change]:
    """Accept documents of one collection; one change each, in the order given."""
    if not documents:
        return []
    await share_collection(conn, documents[0].collection_id, documents[0].owner)
    rows = [{**asdict(d), "status": DocumentStatus.PENDING, "details": {}} for d in documents]
    await conn.execute(insert(Document), rows)
    locked = [
        LockedDocument(d.id, d.collection_id, d.owner, d.name, DocumentStatus.PENDING, 0, deleted=False)
        for d in documents
    ]
    return await _begin(conn, locked, WorkflowKind.UPLOAD, kinds, pace)


async def confirm(conn: AsyncConnection, document: LockedDocument, *, kinds: Sequence[StepKind], pace: Pace) -> Change:
    """The second half of the two-step upload; the caller has locked the document and seen it UPLOADED."""
    await share_collection(conn, document.collection_id, document.owner)
    return (await _begin(conn, [document], WorkflowKind.UPLOAD, kinds, pace))[0]


async def rebuild(
    conn: AsyncConnection,
    document_id: str,
    *,
    kinds: Sequence[StepKind],
    pace: Pace,
    kind: WorkflowKind = WorkflowKind.REBUILD,
) -> Change | None:
    """Build ``kinds`` again; None when none of them has a worker. The parse runs first, and reuses what is unchanged."""
    built = [k for k in kinds if k in BUILT_KINDS]
    document = await lock(conn, document_id)
    if document is None or document.deleted or document.status in {DocumentStatus.UPLOADED, DocumentStatus.EXPIRED}:
        message = f"Document {document_id} not found"
        raise errors.DocumentNotFound(message)
    if not built:
        return None
    return (await _begin(conn, [document], kind, built, pace))[0]


async def delete(conn: AsyncConnection, document_id: str, *, first_due: timedelta) -> Change | None:
    """Gone for every reader at once, its rows and objects soon; None when it already was."""
    document = await lock(conn, document_id)
    if document is None or document.deleted:
        return None
    workflow_id = ids.new_workflow_id()
    traceparent = propagate.current_traceparent()
    superseded = await _superseded(conn, document.id, [k.value for k in StepKind])
    await conn.execute(text("UPDATE document SET deleted_at = clock_timestamp() WHERE id = :id"), {"id": document.id})
    if document.status in {DocumentStatus.UPLOADED, DocumentStatus.EXPIRED}:
        # It never had steps; one is made so that its object is removed like any other.
        await _raise(conn, [document], (StepKind.PARSE,), {document.id: workflow_id}, {document.id: 0},
                     Pace(Lane.INTERACTIVE, 1, first_due), traceparent)  # fmt: skip
    parameters = {"document": document.id, "workflow": workflow_id, "traceparent": traceparent, "first_due": first_due}
    steps = [StepRow(**row._mapping) for row in await conn.execute(_REMOVE_STEPS, parameters)]
    gone = LockedDocument(**{**asdict(document), "deleted": True})
    await _insert_workflows(conn, [gone], {gone.id: workflow_id}, WorkflowKind.DELETE, steps, traceparent)
    rows = await conclude(
        conn,
        gone,
        superseded,
        [Draft(facts.DocumentDeleted, {"workflow_id": workflow_id})],
        source=SOURCE,
    )
    return Change(tuple(step_dispatch(s, source=SOURCE) for s in steps), rows, document.id, workflow_id)


async def purge_collection(conn: AsyncConnection, collection_id: str, owner: str, *, first_due: timedelta) -> Change:
    """Mark the collection deleted and order its purge; waits for uploads that hold it FOR SHARE."""
    marked = await conn.execute(
        text(
            """
            UPDATE collection SET status = 'DELETED', deleted_at = clock_timestamp(), updated = clock_timestamp()
            WHERE id = :id AND owner = :owner AND status <> 'DELETED'
            """
        ),
        {"id": collection_id, "owner": owner},
    )
    if marked.rowcount == 0:
        message = f"Collection {collection_id} not found"
        raise errors.CollectionNotFound(message)
    traceparent = propagate.current_traceparent()
    await conn.execute(
        text(
            """
            INSERT INTO collection_purge (id, owner, status, generation, observed_generation, dispatch, attempt,
                failures, due_at, lane, traceparent)
            VALUES (:id, :owner, 'DELETING', 1, 0, 1, 0, 0, clock_timestamp() + :first_due, 'bulk', :traceparent)
            """
        ),
        {"id": collection_id, "owner": owner, "first_due": first_due, "traceparent": traceparent},
    )
    deleted = facts.CollectionDeleted(
        source=SOURCE,
        type=facts.CollectionDeleted.type_name,
        subject=collection_id,
        owner=owner,
        data=facts.CollectionData(collection_id=collection_id),
    )
    row = outbox.fact(deleted, traceparent)
    await outbox.add(conn, [row])
    return Change((purge_dispatch(collection_id, owner, 1, 1, traceparent, source=SOURCE),), (row,))


async def _begin(
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
            superseded[document.id] = await _superseded(conn, document.id, [k.value for k in wanted])
    steps = await _raise(conn, documents, wanted, workflows, released, pace, traceparent)
    await _insert_workflows(conn, documents, workflows, kind, steps, traceparent)
    changes = []
    for document in documents:
        workflow_id = workflows[document.id]
        drafts = [Draft(facts.DocumentUploaded, {"workflow_id": workflow_id})] if kind is WorkflowKind.UPLOAD else []
        rows = await conclude(conn, document, superseded.get(document.id, []), drafts, source=SOURCE)
        first = [s for s in steps if s.document_id == document.id and s.kind == StepKind.PARSE and s.dispatch > 0]
        commands = tuple(step_dispatch(s, source=SOURCE) for s in first)
        changes.append(Change(commands, rows, document.id, workflow_id))
    return changes


async def _raise(
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


async def _superseded(conn: AsyncConnection, document_id: str, kinds: Iterable[str]) -> list[Closing]:
    rows = await conn.execute(_OPEN_OF_DOCUMENT, {"document": document_id, "kinds": list(kinds)})
    return [Closing(row.workflow_id, row.kind, Outcome.SUPERSEDED) for row in rows]


async def _insert_workflows(
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
