"""Reading, deleting and rebuilding documents."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_api.access.decide import Right
from aperag_api.access.service import collection_for, living
from aperag_api.kernel.paging import Page, SortOrder
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.collections.service import index_kinds
from aperag_api.knowledge.documents import repository
from aperag_api.knowledge.documents.schemas import (
    DeletedDocuments,
    DocumentOut,
    DocumentPage,
    RebuildAnswer,
    RebuildFailedAnswer,
)
from aperag_common import errors
from aperag_common.db.models import DocumentStatus, Lane
from aperag_common.db.models.base import JobStatus
from aperag_common.jobs.steps import INDEX_STEPS, StepKind
from aperag_work.document_rows import lock_all
from aperag_work.scheduler import ScheduleContext

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.knowledge.documents.repository import DocumentRow
    from aperag_api.knowledge.documents.schemas import DocumentSort, IndexType, ListedStatus
    from aperag_work.accepting import NewDocument
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.scheduler import TaskScheduler

BATCH = 25
"""Documents changed in one transaction: who works on any of them waits for all."""


@dataclass(frozen=True, slots=True)
class DocumentService:
    engine: AsyncEngine
    dispatcher: Dispatcher
    scheduler: TaskScheduler

    async def list(
        self,
        user_id: str | None,
        collection_id: str,
        *,
        right: Right = Right.READ,
        page: Page,
        sort: DocumentSort,
        order: SortOrder,
        search: str | None,
        statuses: Sequence[ListedStatus] = (),
    ) -> DocumentPage:
        async with reading(self.engine) as conn:
            collection = await collection_for(conn, user_id, collection_id, right)
            rows, counts = await repository.list_page(
                conn,
                collection_id,
                collection.owner,
                search=search,
                statuses=statuses,
                sort=sort,
                order=order,
                page=page,
            )
        total = sum(counts[it] for it in set(statuses) or counts)
        listed = DocumentPage.of([view(row) for row in rows], total=total, page=page)
        return listed.model_copy(update={"counts": counts})

    async def get(self, user_id: str, collection_id: str, document_id: str) -> DocumentOut:
        async with reading(self.engine) as conn:
            return view(await readable_document(conn, collection_id, document_id, user_id))

    async def delete(self, owner: str, collection_id: str, document_id: str) -> DocumentOut:
        """Idempotent for as long as the tombstone is there."""
        async with self.engine.begin() as conn:
            row = await repository.get(conn, collection_id, document_id, owner)
            if row is None:
                await living(conn, collection_id, owner)
                raise not_found(document_id)
            context = ScheduleContext(conn)
            task = await self.scheduler.schedule_delete_index(document_id, INDEX_STEPS, context)
        self.dispatcher.deliver(*context.changes.values())
        return view(row, task_id=task).model_copy(update={"status": DocumentStatus.DELETED.value})

    async def delete_many(self, owner: str, collection_id: str, document_ids: Sequence[str]) -> DeletedDocuments:
        """Ids that are nobody's or another owner's are named as deleted too: they tell nothing."""
        async with reading(self.engine) as conn:
            await living(conn, collection_id, owner)
            own = await repository.own_ids(conn, collection_id, document_ids, owner)
        for batch in _batches(own):
            async with self.engine.begin() as conn:
                await lock_all(conn, batch)
                context = ScheduleContext(conn)
                for document_id in batch:
                    await self.scheduler.schedule_delete_index(document_id, INDEX_STEPS, context)
            self.dispatcher.deliver(*context.changes.values())
        return DeletedDocuments(deleted_ids=list(document_ids))

    async def rebuild(
        self, owner: str, collection_id: str, document_id: str, types: Sequence[IndexType]
    ) -> RebuildAnswer:
        """Every requested type is named; one that is disabled or has no worker is left as it is."""
        async with self.engine.begin() as conn:
            collection = await living(conn, collection_id, owner)
            await living_document(conn, collection_id, document_id, owner)
            enabled = index_kinds(collection.config)
            kinds = [t.kind for t in types if t.kind in enabled]
            context = ScheduleContext(conn)
            task = await self.scheduler.schedule_update_index(document_id, kinds, context)
        self.dispatcher.deliver(*context.changes.values())
        named = ", ".join(types)
        return RebuildAnswer(message=f"Index rebuild initiated for types: {named}", task_id=task)

    async def rebuild_failed(self, owner: str, collection_id: str) -> RebuildFailedAnswer:
        async with reading(self.engine) as conn:
            collection = await living(conn, collection_id, owner)
            failed = await repository.failed_kinds(conn, collection_id, owner)
        enabled = index_kinds(collection.config)
        affected = 0
        for batch in _batches(list(failed)):
            async with self.engine.begin() as conn:
                await lock_all(conn, batch)
                context = ScheduleContext(conn, Lane.BULK)
                for document_id in batch:
                    await self._rebuild_failed(document_id, failed[document_id], enabled, context)
            self.dispatcher.deliver(*context.changes.values())
            affected += len(context.changes)
        message = f"Failed index rebuild initiated for {affected} documents"
        return RebuildFailedAnswer(message=message, affected_documents=affected)

    async def _rebuild_failed(
        self, document_id: str, failed: Sequence[str], enabled: Sequence[StepKind], context: ScheduleContext
    ) -> None:
        # A parse that failed took every index with it.
        kinds = enabled if StepKind.PARSE in failed else [kind for kind in enabled if kind in failed]
        with suppress(errors.DocumentNotFound):  # deleted since it was listed
            await self.scheduler.schedule_update_index(document_id, kinds, context)


async def living_document(conn: AsyncConnection, collection_id: str, document_id: str, owner: str) -> DocumentRow:
    """The owner's document; raises ``DocumentNotFound`` where there is none or it is deleted."""
    row = await repository.get(conn, collection_id, document_id, owner)
    if row is None or row.deleted:
        raise not_found(document_id)
    return row


async def readable_document(
    conn: AsyncConnection, collection_id: str, document_id: str, user_id: str | None
) -> DocumentRow:
    """As ``living_document``, also for who has subscribed to the collection; for None, while it is published."""
    if user_id is None:
        row = await repository.get_published(conn, collection_id, document_id)
    else:
        row = await repository.get_readable(conn, collection_id, document_id, user_id)
    if row is None or row.deleted:
        raise not_found(document_id)
    return row


def view(row: DocumentRow, *, task_id: str | None = None) -> DocumentOut:
    """``task_id`` names a change whose steps are not among those of ``row``."""
    statuses: dict[str, object] = {}
    for kind in INDEX_STEPS:
        if step := row.steps.get(kind):
            statuses[f"{kind}_index_status"] = step["status"]
            statuses[f"{kind}_index_updated"] = step["updated"]
    plain = {
        "id": row.id,
        "name": row.name,
        "status": DocumentStatus.DELETED if row.deleted else row.status,
        "size": row.size,
        "created": row.created,
        "updated": row.updated,
        "task_id": task_id or _parse(row).get("workflow_id"),
        "metadata": row.metadata,
        "warnings": row.warnings,
        **_reason(row),
    }
    return DocumentOut.model_validate({**plain, **statuses})


def accepted_view(document: NewDocument, kinds: Iterable[StepKind], task_id: str, at: datetime) -> DocumentOut:
    """Of a document that was accepted ``at`` this moment: nothing has happened to it yet."""
    pending = {f"{kind.value}_index_status": JobStatus.PENDING.value for kind in kinds}
    since = {f"{kind.value}_index_updated": at for kind in kinds}
    plain = {"id": document.id, "name": document.name, "size": document.size, "status": DocumentStatus.PENDING.value}
    return DocumentOut.model_validate({**plain, "created": at, "updated": at, "task_id": task_id, **pending, **since})


def _parse(row: DocumentRow) -> Mapping[str, Any]:
    """Every change begins with the parse, so its step names the newest one."""
    return row.steps.get(StepKind.PARSE, {})


def _reason(row: DocumentRow) -> dict[str, str]:
    """Builds that wait for a failed parse repeat what it failed of."""
    steps = (_parse(row), *(row.steps.get(kind, {}) for kind in INDEX_STEPS))
    failed = next((step for step in steps if step.get("error_code")), {})
    return {name: failed[name] for name in ("error_code", "error_message") if name in failed}


def not_found(document_id: str) -> errors.DocumentNotFound:
    return errors.DocumentNotFound(f"Document {document_id} not found")


def _batches(document_ids: Sequence[str]) -> list[Sequence[str]]:
    return [document_ids[at : at + BATCH] for at in range(0, len(document_ids), BATCH)]
