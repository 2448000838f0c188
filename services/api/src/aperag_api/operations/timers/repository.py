"""SQL of timers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.operations.timers.schemas import TimerOut

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_TIMERS = text(
    """
    SELECT name, period_seconds, worker, started_at, finished_at, succeeded_at, lateness_seconds, error_message,
        runs, failures,
        CASE WHEN finished_at IS NULL OR started_at > finished_at THEN 'running' ELSE outcome END AS state,
        CASE WHEN finished_at >= started_at THEN extract(epoch FROM finished_at - started_at)::float END
            AS duration_seconds
    FROM timer
    """
)


async def timers(conn: AsyncConnection) -> dict[str, TimerOut]:
    """Those that have run, by name."""
    return {row.name: TimerOut(**row._mapping) for row in await conn.execute(_TIMERS)}
