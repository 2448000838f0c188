"""What people ask of a document, as one transaction each: upload, confirm, rebuild, delete.

Every function works inside the caller's transaction and returns the ``Change`` to deliver after its commit.
Locks are taken in the order collection, document, job, workflow. Transitions made here are the gateway's.
"""

from __future__ import annotations

from dataclasses import asdict, replace
from typing import TYPE_CHECKING

from sqlalchemy import insert

from aperag_common import errors, ids
from aperag_common.db.models import Document
from aperag_common.db.models.base import Lane
from aperag_common.db.models.collection import CollectionStatus
from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.workflow import WorkflowKind
from aperag_common.events import facts
from aperag_common.events.fact import CollectionData
from aperag_common.jobs.declared import BUILT, COLLECTION_PURGE, USER_PURGE
from aperag_common.jobs.kind import Wanted
from aperag_common.jobs.steps import StepKind
from aperag_common.telemetry import propagate
from aperag_work import outbox, transitions
from aperag_work.accepting import NewDocument, accept
from aperag_work.change import Change
from aperag_work.database import Statement, driver
from aperag_work.document_rows import LockedDocument, lock
from aperag_work.effects import Draft, Effects, apply_effects
from aperag_work.opening import SOURCE, Admission, begin, insert_workflows, superseded_closings, want_jobs
from aperag_work.rows import Dispatch
from aperag_work.transitions import Wish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.database import Connection

_SHARE_COLLECTION = Statement(
    "share a collection", "SELECT status FROM collection WHERE id = $1 AND owner = $2 FOR SHARE"
)
_MARK_DELETED = Statement(
    "mark a document as deleted", "UPDATE document SET deleted_at = clock_timestamp() WHERE id = $1 RETURNING id"
)
_MARK_COLLECTION = Statement(
    "mark a collection as deleted",
    """
    UPDATE collection SET status = 'DELETED', deleted_at = clock_timestamp(), updated = clock_timestamp()
    WHERE id = $1 AND owner = $2 AND status <> 'DELETED' RETURNING id
    """,
)
_REPLACE_CONTENT = Statement(
    "replace a document's content",
    """
    UPDATE document SET name = $2, size = $3::bigint, sha256 = $4, object_path = $5, updated = clock_timestamp()
    WHERE id = $1 RETURNING id
    """,
)
_JOB_KINDS_OF = Statement("read the kinds of a document's jobs", "SELECT kind FROM job WHERE subject_id = $1")


async def share_collection(conn: AsyncConnection | Connection, collection_id: str, owner: str) -> None:
    """Keep the collection from being deleted until this transaction ends; raises when it already is."""
    status = await _SHARE_COLLECTION.value(await driver(conn), collection_id, owner)
    if status is None or status == CollectionStatus.DELETED:
        message = f"Collection {collection_id} not found"
        raise errors.CollectionNotFound(message)
    if status != CollectionStatus.ACTIVE:
        message = f"Collection {collection_id} is not active"
        raise errors.CollectionInactive(message)


async def stage(conn: AsyncConnection, document: NewDocument) -> None:
    """The first half of the two-step upload: a row UPLOADED, no jobs yet. The caller shares the collection."""
    await conn.execute(insert(Document), [{**asdict(document), "status": DocumentStatus.UPLOADED, "details": {}}])


async def upload(
    conn: AsyncConnection | Connection,
    documents: Sequence[NewDocument],
    *,
    kinds: Sequence[StepKind],
    admission: Admission,
) -> list[Change]:
    """Accept documents of one collection; one change each, in the order given."""
    if not documents:
        return []
    await share_collection(conn, documents[0].collection_id, documents[0].owner)
    return await accept(conn, documents, kinds, admission)


async def confirm(
    conn: AsyncConnection, document: LockedDocument, *, kinds: Sequence[StepKind], admission: Admission
) -> Change:
    """The second half of the two-step upload; the caller shares the collection, and has seen the locked document
    UPLOADED.
    """
    return (await begin(conn, [document], WorkflowKind.UPLOAD, kinds, admission))[0]


async def rebuild(
    conn: AsyncConnection,
    document_id: str,
    *,
    kinds: Sequence[StepKind],
    admission: Admission,
    kind: WorkflowKind = WorkflowKind.REBUILD,
) -> Change | None:
    """Build ``kinds`` again; None when none of them has a worker. The parse runs first, and reuses what is unchanged."""
    built = [k for k in kinds if k in BUILT]
    document = await lock(conn, document_id)
    if document is None or document.deleted or document.status in {DocumentStatus.UPLOADED, DocumentStatus.EXPIRED}:
        message = f"Document {document_id} not found"
        raise errors.DocumentNotFound(message)
    if not built:
        return None
    return (await begin(conn, [document], kind, built, admission))[0]


async def replace_content(
    conn: AsyncConnection,
    document: LockedDocument,
    content: NewDocument,
    *,
    kinds: Sequence[StepKind],
    admission: Admission,
) -> Change:
    """Other bytes, or another name, for a living document: everything that was built of the old ones is built again.

    ``content`` names what is new; its id, owner and collection are the document's.
    """
    raw = await driver(conn)
    await _REPLACE_CONTENT.fetch(raw, document.id, content.name, content.size, content.sha256, content.object_path)
    there = {row["kind"] for row in await _JOB_KINDS_OF.fetch(raw, document.id)}
    wanted = [kind for kind in BUILT if kind in kinds or kind.job in there]
    renamed = replace(document, name=content.name)
    return (await begin(conn, [renamed], WorkflowKind.REBUILD, wanted, admission))[0]


async def delete(conn: AsyncConnection, document_id: str, *, first_due: timedelta) -> Change | None:
    """Gone for every reader at once, its rows and objects soon; None when it already was."""
    document = await lock(conn, document_id)
    if document is None or document.deleted:
        return None
    raw = await driver(conn)
    workflow_id = str(ids.new_workflow_id())
    await _MARK_DELETED.fetch(raw, document.id)
    # A document that was never confirmed has no jobs; its parse is made, so that its object is removed like any other.
    made = {row["kind"] for row in await _JOB_KINDS_OF.fetch(raw, document.id)} or {StepKind.PARSE.job}
    drafts = [Draft(facts.DocumentDeleted, {"workflow_id": workflow_id})]
    kinds = [kind for kind in StepKind if kind.job in made]
    return await _remove(raw, replace(document, deleted=True), kinds, workflow_id, drafts, first_due)


async def remove_again(
    conn: AsyncConnection | Connection, document: LockedDocument, kinds: Sequence[StepKind], *, first_due: timedelta
) -> Change:
    """Of a deleted document that is locked: removals that were given up, as a delete of their own."""
    return await _remove(await driver(conn), document, kinds, str(ids.new_workflow_id()), [], first_due)


async def _remove(
    conn: Connection,
    gone: LockedDocument,
    kinds: Sequence[StepKind],
    workflow_id: str,
    drafts: Sequence[Draft],
    first_due: timedelta,
) -> Change:
    traceparent = propagate.current_traceparent()
    workflows = {gone.id: workflow_id}
    superseded = await superseded_closings(conn, [gone], kinds)
    admission = Admission(Lane.INTERACTIVE, 1, first_due)
    jobs = await want_jobs(conn, [gone], kinds, workflows, {gone.id: 1}, admission, traceparent, wanted=Wanted.ABSENT)
    await insert_workflows(conn, [gone], workflows, WorkflowKind.DELETE, jobs, traceparent)
    [concluded] = await apply_effects(conn, Effects(gone, superseded.get(gone.id, []), drafts), source=SOURCE)
    return Change(tuple(Dispatch(job, SOURCE) for job in jobs), concluded.events, gone.id, workflow_id)


async def purge_collection(
    conn: AsyncConnection | Connection, collection_id: str, owner: str, *, first_due: timedelta, source: str = SOURCE
) -> Change:
    """Mark the collection deleted and order its purge; waits for uploads that hold it FOR SHARE."""
    raw = await driver(conn)
    if not await _MARK_COLLECTION.count(raw, collection_id, owner):
        message = f"Collection {collection_id} not found"
        raise errors.CollectionNotFound(message)
    wish = Wish(COLLECTION_PURGE.name, collection_id, owner, collection_id)
    made = await transitions.want(raw, COLLECTION_PURGE, [wish], wanted=Wanted.ABSENT, first_due=first_due)
    data = CollectionData(collection_id=collection_id)
    deleted = facts.CollectionDeleted.of(data, source=source, subject=collection_id, owner=owner)
    told = await outbox.record(raw, deleted)
    return Change(tuple(Dispatch(row, source) for row, _ in made), told)


async def purge_user(conn: AsyncConnection | Connection, user_id: str, *, first_due: timedelta) -> Change:
    """Order the removal of everything that a user owns, who is marked deleted by the caller."""
    wish = Wish(USER_PURGE.name, user_id, user_id)
    made = await transitions.want(await driver(conn), USER_PURGE, [wish], wanted=Wanted.ABSENT, first_due=first_due)
    return Change(tuple(Dispatch(row, SOURCE) for row, _ in made))
