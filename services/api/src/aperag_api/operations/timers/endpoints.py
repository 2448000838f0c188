"""Routes of timers; for administrators."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Admin
from aperag_api.operations.services import Services
from aperag_api.operations.timers.schemas import TimerRequested, TimersOut

router = APIRouter(prefix="/admin", tags=["admin"])


@router.get("/timers")
async def list_timers(_: Admin, services: Services) -> TimersOut:
    """Every timer with its last run."""
    return await services.timers.list()


@router.post("/timers/{timer}/run")
async def run_timer(timer: str, _: Admin, services: Services) -> TimerRequested:
    """Now instead of at its next tick; one run that waits or is under way counts as this one."""
    return await services.timers.run(timer)
