"""Cancelling the tasks of a document, or of all documents of a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access.service import living
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.cancellation import repository
from aperag_api.knowledge.cancellation.schemas import CancelledCollection, CancelledDocument
from aperag_api.knowledge.documents.service import BATCH, living_document, view
from aperag_common import errors
from aperag_work.cancel import announce, cancel_documents

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_work.dispatcher import Dispatcher


@dataclass(frozen=True, slots=True)
class CancellationService:
    engine: AsyncEngine
    dispatcher: Dispatcher
    first_due: timedelta

    async def of_document(self, owner: str, collection_id: str, document_id: str) -> CancelledDocument:
        """Raises ``Conflict`` with the document's state where no task of it runs."""
        async with self.engine.begin() as conn:
            await living(conn, collection_id, owner)
            await living_document(conn, collection_id, document_id, owner)
            cancelled = await cancel_documents(conn, [document_id], first_due=self.first_due)
            document = view(await living_document(conn, collection_id, document_id, owner))
        if not cancelled:
            message = f"No task of document {document_id} is running: it is {document.status}"
            raise errors.Conflict(message, details={"document": document.model_dump(mode="json")})
        [ended] = cancelled
        await announce(self.dispatcher, [ended])
        return CancelledDocument(document=document, task_ids=list(ended.tasks))

    async def of_collection(self, owner: str, collection_id: str) -> CancelledCollection:
        """In transactions of some documents each: what a crash leaves is cancelled by asking again."""
        tasks = documents = 0
        async with reading(self.engine) as conn:
            await living(conn, collection_id, owner)
            asked = await repository.now(conn)
        after = ""
        while True:
            async with self.engine.begin() as conn:
                batch = await repository.running_documents(
                    conn, collection_id, owner, asked=asked, after=after, limit=BATCH
                )
                cancelled = await cancel_documents(conn, batch, first_due=self.first_due) if batch else []
            await announce(self.dispatcher, cancelled)
            tasks += sum(len(c.tasks) for c in cancelled)
            documents += len(cancelled)
            if len(batch) < BATCH:
                break
            after = batch[-1]
        return CancelledCollection(collection_id=collection_id, cancelled_tasks=tasks, affected_documents=documents)
