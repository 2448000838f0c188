"""What people ask of a document, as one transaction each: upload, confirm, rebuild, delete.

Every function works inside the caller's transaction and returns the ``Change`` to deliver after its commit.
Locks are taken in the order collection, document, step, workflow. Transitions made here are the gateway's.
"""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import insert, text

from aperag_common import errors, ids
from aperag_common.bus.topology import BUILT_KINDS
from aperag_common.db.models import Document
from aperag_common.db.models.base import Lane
from aperag_common.db.models.collection import CollectionStatus
from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import WorkflowKind
from aperag_common.events import facts
from aperag_common.telemetry import propagate
from aperag_common.work import outbox
from aperag_common.work.change import Change
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, purge_dispatch, step_dispatch
from aperag_common.work.documents import Conclusion, Draft, LockedDocument, conclude, lock
from aperag_common.work.opening import SOURCE, Pace, begin, insert_workflows, raise_steps, superseded_closings
from aperag_common.work.uploading import NewDocument, accept

__all__ = [
    "NewDocument",
    "Pace",
    "confirm",
    "delete",
    "purge_collection",
    "rebuild",
    "remove_again",
    "share_collection",
    "stage",
    "upload",
]

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

_SHARE_COLLECTION = text("SELECT status FROM collection WHERE id = :id AND owner = :owner FOR SHARE")

_REMOVE_STEPS = text(
    f"""
    UPDATE document_step SET status = 'DELETING', generation = generation + 1, dispatch = 1, attempt = 0, failures = 0,
        due_at = clock_timestamp() + :first_due, workflow_id = :workflow, traceparent = :traceparent,
        lease_token = NULL, lease_owner = NULL, lease_until = NULL, error_code = NULL, error_message = NULL,
        worker = NULL, failed_attempts = '[]', started_at = NULL, settled_at = NULL, updated = clock_timestamp()
    WHERE document_id = :document AND kind = ANY(:kinds)
    RETURNING {STEP_COLUMNS}
    """
)


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
    return await accept(conn, documents, kinds, pace)


async def confirm(conn: AsyncConnection, document: LockedDocument, *, kinds: Sequence[StepKind], pace: Pace) -> Change:
    """The second half of the two-step upload; the caller has locked the document and seen it UPLOADED."""
    await share_collection(conn, document.collection_id, document.owner)
    return (await begin(conn, [document], WorkflowKind.UPLOAD, kinds, pace))[0]


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
    return (await begin(conn, [document], kind, built, pace))[0]


async def delete(conn: AsyncConnection, document_id: str, *, first_due: timedelta) -> Change | None:
    """Gone for every reader at once, its rows and objects soon; None when it already was."""
    document = await lock(conn, document_id)
    if document is None or document.deleted:
        return None
    workflow_id = str(ids.new_workflow_id())
    await conn.execute(text("UPDATE document SET deleted_at = clock_timestamp() WHERE id = :id"), {"id": document.id})
    if document.status in {DocumentStatus.UPLOADED, DocumentStatus.EXPIRED}:
        # It never had steps; one is made so that its object is removed like any other.
        await raise_steps(conn, [document], (StepKind.PARSE,), {document.id: workflow_id}, {document.id: 0},
                     Pace(Lane.INTERACTIVE, 1, first_due), propagate.current_traceparent())  # fmt: skip
    gone = LockedDocument(**{**asdict(document), "deleted": True})
    drafts = [Draft(facts.DocumentDeleted, {"workflow_id": workflow_id})]
    return await _remove(conn, gone, tuple(StepKind), workflow_id, drafts, first_due)


async def remove_again(
    conn: AsyncConnection, document: LockedDocument, kinds: Sequence[StepKind], *, first_due: timedelta
) -> Change:
    """Of a deleted document that is locked: removals that were given up, as a delete of their own."""
    return await _remove(conn, document, kinds, str(ids.new_workflow_id()), [], first_due)


async def _remove(
    conn: AsyncConnection,
    gone: LockedDocument,
    kinds: Sequence[StepKind],
    workflow_id: str,
    drafts: Sequence[Draft],
    first_due: timedelta,
) -> Change:
    traceparent = propagate.current_traceparent()
    wanted = [kind.value for kind in kinds]
    superseded = await superseded_closings(conn, gone.id, wanted)
    parameters = {"document": gone.id, "kinds": wanted, "workflow": workflow_id, "traceparent": traceparent}
    found = await conn.execute(_REMOVE_STEPS, {**parameters, "first_due": first_due})
    steps = [StepRow(**row._mapping) for row in found]
    await insert_workflows(conn, [gone], {gone.id: workflow_id}, WorkflowKind.DELETE, steps, traceparent)
    [concluded] = await conclude(conn, Conclusion(gone, superseded, drafts), source=SOURCE)
    return Change(tuple(step_dispatch(s, source=SOURCE) for s in steps), concluded.facts, gone.id, workflow_id)


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
