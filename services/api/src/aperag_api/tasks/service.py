"""Watching and cancelling tasks."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError

from aperag_api.reading import reading
from aperag_api.tasks import repository
from aperag_common import errors
from aperag_common.bus import subjects
from aperag_common.work.cancel import AlreadySettled, cancel

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.tasks.schemas import TaskOut
    from aperag_common.bus.connection import Bus
    from aperag_common.work.courier import Courier

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class TaskService:
    engine: AsyncEngine
    bus: Bus
    courier: Courier
    first_due: timedelta

    async def get(self, owner: str, task_id: str) -> TaskOut:
        async with reading(self.engine) as conn:
            task = await repository.get(conn, task_id, owner)
        if task is None:
            raise _not_found(task_id)
        return task

    async def cancel(self, owner: str, task_id: str) -> TaskOut:
        """Raises ``Conflict`` with the final state where the task had already ended."""
        async with self.engine.begin() as conn:
            outcome = await cancel(conn, task_id, owner=owner, first_due=self.first_due)
            task = await repository.get(conn, task_id, owner)
        if task is None:
            raise _not_found(task_id)
        if isinstance(outcome, AlreadySettled):
            message = f"Task {task_id} has already ended: {outcome.status}"
            raise errors.Conflict(message, details={"task": task.model_dump(mode="json")})
        self.courier.deliver(outcome)
        await self._tell_worker(task_id)
        return task

    async def _tell_worker(self, task_id: str) -> None:
        """Saves the worker a beat; without it the fence stops the work."""
        try:
            await self.bus.nc.publish(subjects.cancel_task(task_id), b"{}")
        except NatsError as err:
            log.warning("task.cancel_unpublished", task_id=task_id, error=repr(err))


def _not_found(task_id: str) -> errors.NotFound:
    message = f"Task {task_id} not found"
    return errors.NotFound(message)
