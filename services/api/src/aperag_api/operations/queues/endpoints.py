"""Route of queues; for administrators."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Admin
from aperag_api.operations.queues.schemas import QueuesOut
from aperag_api.operations.services import Services

router = APIRouter(prefix="/admin", tags=["admin"])


@router.get("/queues")
async def get_queues(_: Admin, services: Services) -> QueuesOut:
    """Consumers, workers, what runs, rates and failures."""
    return await services.queues.get()
