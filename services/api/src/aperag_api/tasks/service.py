"""Watching and cancelling tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access.service import living
from aperag_api.documents.service import BATCH, living_document, view
from aperag_api.reading import reading
from aperag_api.tasks import repository
from aperag_api.tasks.schemas import CancelledCollection, CancelledDocument
from aperag_common import errors
from aperag_work.cancel import AlreadySettled, cancel, cancel_documents

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.auth import Caller
    from aperag_api.tasks.schemas import TaskOut
    from aperag_work.change import Change
    from aperag_work.dispatcher import Dispatcher


@dataclass(frozen=True, slots=True)
class TaskService:
    engine: AsyncEngine
    dispatcher: Dispatcher
    first_due: timedelta

    async def get(self, caller: Caller, task_id: str) -> TaskOut:
        async with reading(self.engine) as conn:
            task = await repository.get(conn, task_id, caller)
        if task is None:
            raise _not_found(task_id)
        return task

    async def cancel(self, caller: Caller, task_id: str) -> TaskOut:
        """Raises ``Conflict`` with the final state where the task had already ended."""
        async with self.engine.begin() as conn:
            if await repository.get(conn, task_id, caller) is None:
                raise _not_found(task_id)
            outcome = await cancel(conn, task_id, owner=caller.user_id, first_due=self.first_due)
            task = await repository.get(conn, task_id, caller)
        if task is None:
            raise _not_found(task_id)
        if isinstance(outcome, AlreadySettled):
            message = f"Task {task_id} has already ended: {outcome.status}"
            raise errors.Conflict(message, details={"task": task.model_dump(mode="json")})
        await self._deliver([outcome], [task_id])
        return task

    async def cancel_document(self, owner: str, collection_id: str, document_id: str) -> CancelledDocument:
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
        await self._deliver([ended.change], ended.tasks)
        return CancelledDocument(document=document, task_ids=list(ended.tasks))

    async def cancel_collection(self, owner: str, collection_id: str) -> CancelledCollection:
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
            await self._deliver([c.change for c in cancelled], [task for c in cancelled for task in c.tasks])
            tasks += sum(len(c.tasks) for c in cancelled)
            documents += len(cancelled)
            if len(batch) < BATCH:
                break
            after = batch[-1]
        return CancelledCollection(collection_id=collection_id, cancelled_tasks=tasks, affected_documents=documents)

    async def _deliver(self, changes: Sequence[Change], tasks: Iterable[str]) -> None:
        """After the commit: workers stop at once instead of at their next beat, and free slots are given away."""
        for task_id in tasks:
            await self.dispatcher.publisher.cancel_task(task_id)
        self.dispatcher.deliver(*changes)


def _not_found(task_id: str) -> errors.NotFound:
    message = f"Task {task_id} not found"
    return errors.NotFound(message)
