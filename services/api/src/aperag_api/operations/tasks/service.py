"""Watching and cancelling tasks."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from aperag_api.operations.tasks.schemas import TaskOut
from aperag_common import errors
from aperag_common.telemetry import propagate
from aperag_work.cancel import AlreadySettled, cancel

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.scheduler import TaskScheduler


@dataclass(frozen=True, slots=True)
class TaskService:
    engine: AsyncEngine
    dispatcher: Dispatcher
    scheduler: TaskScheduler
    first_due: timedelta

    async def get(self, caller: Caller, task_id: str) -> TaskOut:
        """The caller's own task, in a collection that their key reaches."""
        task = await self.scheduler.get_task_status(task_id)
        if task.owner != caller.user_id or (caller.reach is not None and task.collection_id not in caller.reach):
            message = f"Task {task_id} not found"
            raise errors.NotFound(message)
        return TaskOut(**asdict(task), trace_id=propagate.trace_id_of(task.traceparent))

    async def cancel(self, caller: Caller, task_id: str) -> TaskOut:
        """Raises ``Conflict`` with the final state where the task had already ended."""
        await self.get(caller, task_id)
        async with self.engine.begin() as conn:
            outcome = await cancel(conn, task_id, owner=caller.user_id, first_due=self.first_due)
        task = await self.get(caller, task_id)
        if isinstance(outcome, AlreadySettled):
            message = f"Task {task_id} has already ended: {outcome.status}"
            raise errors.Conflict(message, details={"task": task.model_dump(mode="json")})
        # Workers stop at once instead of at their next beat, and free slots are given away.
        await self.dispatcher.publisher.cancel_task(task_id)
        self.dispatcher.deliver(outcome)
        return task
