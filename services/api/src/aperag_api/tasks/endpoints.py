"""Routes of tasks."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.auth import Reader, Writer
from aperag_api.gateway import Services
from aperag_api.tasks.schemas import TaskOut

router = APIRouter(prefix="/tasks/{task_id}", tags=["tasks"])


@router.get("")
async def get_task(task_id: str, caller: Reader, services: Services) -> TaskOut:
    return await services.tasks.get(caller.user_id, task_id)


@router.post("/cancel")
async def cancel_task(task_id: str, caller: Writer, services: Services) -> TaskOut:
    return await services.tasks.cancel(caller.user_id, task_id)
