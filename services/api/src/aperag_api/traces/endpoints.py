"""Route of traces."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.auth import ScopedReader
from aperag_api.gateway import Services
from aperag_api.traces.schemas import TraceOut

router = APIRouter(tags=["traces"])


@router.get("/traces/{trace_id}")
async def get_trace(trace_id: str, caller: ScopedReader, services: Services) -> TraceOut:
    return await services.traces.get(caller, trace_id)
