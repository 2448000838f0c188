"""Routes of tasks."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import ScopedReader, ScopedWriter
from aperag_api.operations.services import Services
from aperag_api.operations.tasks.schemas import TaskOut

router = APIRouter(tags=["tasks"])


@router.get("/tasks/{task_id}")
async def get_task(task_id: str, caller: ScopedReader, services: Services) -> TaskOut:
    return await services.tasks.get(caller, task_id)


@router.post("/tasks/{task_id}/cancel")
async def cancel_task(task_id: str, caller: ScopedWriter, services: Services) -> TaskOut:
    return await services.tasks.cancel(caller, task_id)
