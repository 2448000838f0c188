"""Reading traces without a collector."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.kernel.auth import Role
from aperag_api.kernel.reading import reading
from aperag_api.operations.traces import repository
from aperag_api.operations.traces.reader import read_trace
from aperag_api.operations.traces.schemas import TraceOut
from aperag_common import errors

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_common.bus.connection import Bus

_TRACE_ID = re.compile(r"[0-9a-f]{32}\Z")


@dataclass(frozen=True, slots=True)
class TraceService:
    engine: AsyncEngine
    bus: Bus

    async def get(self, caller: Caller, trace_id: str) -> TraceOut:
        """A trace id is no password: its owner or an admin may read it, for everyone else there is none."""
        spans = await read_trace(self.bus.js, trace_id) if await self._may_read(caller, trace_id) else []
        if not spans:
            raise errors.NotFound(f"Trace {trace_id} not found")
        return TraceOut(trace_id=trace_id, spans=spans)

    async def _may_read(self, caller: Caller, trace_id: str) -> bool:
        if not _TRACE_ID.match(trace_id):
            return False
        if caller.role is Role.ADMIN:
            return True
        async with reading(self.engine) as conn:
            return await repository.owns(conn, trace_id, caller)
