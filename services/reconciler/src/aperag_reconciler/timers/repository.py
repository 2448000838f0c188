"""SQL of timers: what each of them last did."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_START = text(
    """
    INSERT INTO timer (name, period_seconds, worker, started_at, lateness_seconds, runs, failures)
    VALUES (:name, :period, :worker, clock_timestamp(), :lateness, 0, 0)
    ON CONFLICT (name) DO UPDATE SET period_seconds = excluded.period_seconds, worker = excluded.worker,
        started_at = excluded.started_at, lateness_seconds = excluded.lateness_seconds
    """
)

_END = text(
    """
    UPDATE timer SET finished_at = clock_timestamp(), outcome = CAST(:outcome AS text), error_message = :error, runs = runs + 1,
        failures = failures + CASE WHEN CAST(:outcome AS text) = 'ok' THEN 0 ELSE 1 END,
        succeeded_at = CASE WHEN CAST(:outcome AS text) = 'ok' THEN clock_timestamp() ELSE succeeded_at END
    WHERE name = :name
    """
)

_SUCCESSES = text(
    """
    SELECT name, extract(epoch FROM clock_timestamp() - succeeded_at)::float AS ago
    FROM timer WHERE succeeded_at IS NOT NULL
    """
)


async def start(conn: AsyncConnection, name: str, *, period: float, worker: str, lateness: float) -> None:
    await conn.execute(_START, {"name": name, "period": period, "worker": worker, "lateness": lateness})


async def end(conn: AsyncConnection, name: str, *, outcome: str, error: str | None) -> None:
    await conn.execute(_END, {"name": name, "outcome": outcome, "error": error})


async def successes(conn: AsyncConnection) -> dict[str, float]:
    """How many seconds ago each timer last ended well, whoever ran it."""
    return {row.name: row.ago for row in await conn.execute(_SUCCESSES)}
