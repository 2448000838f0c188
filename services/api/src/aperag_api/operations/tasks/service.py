"""Watching and cancelling tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.kernel.reading import reading
from aperag_api.operations.tasks import repository
from aperag_common import errors
from aperag_work.cancel import AlreadySettled, cancel

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_api.operations.tasks.schemas import TaskOut
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
        # Workers stop at once instead of at their next beat, and free slots are given away.
        await self.dispatcher.publisher.cancel_task(task_id)
        self.dispatcher.deliver(outcome)
        return task


def _not_found(task_id: str) -> errors.NotFound:
    return errors.NotFound(f"Task {task_id} not found")
