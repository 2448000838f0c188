"""Fair release: a bounded number of documents per owner is in flight, the others wait their turn in the table.

The queue in NATS stays short, so fairness between owners, priority and position are one mechanism.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common.db.models.base import OPEN_SQL
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.work.courier import Courier
    from aperag_common.work.policy import WorkPolicy

log = structlog.get_logger(__name__)

SOURCE = "reconciler"
RELEASE_LOCK = 7_241_906
GATHER_SECONDS = 0.05
"""Wakes that come within this time are answered by one release."""

_WAITING = f"status IN {OPEN_SQL} AND dispatch = 0 AND due_at < 'infinity'"
"""As in the index that finds them; builds that wait for their parse stand at infinity and take no turn."""

# The recursion visits each waiting owner once instead of each waiting row. Round robin: every owner's first waiting
# document, then every owner's second, … each up to the owner's free slots. A row that a request holds is left for the
# next run: waiting for it, with others already held, could deadlock.
_RELEASE = text(
    f"""
    WITH RECURSIVE waiting_owner AS (
        (SELECT owner FROM document_step WHERE {_WAITING} ORDER BY owner LIMIT 1)
        UNION ALL
        SELECT (SELECT owner FROM document_step WHERE {_WAITING} AND owner > w.owner ORDER BY owner LIMIT 1)
        FROM waiting_owner w WHERE w.owner IS NOT NULL
    ), load AS (
        SELECT w.owner, (
            SELECT count(DISTINCT s.document_id) FROM document_step s
            WHERE s.owner = w.owner AND s.dispatch > 0 AND s.status IN {OPEN_SQL}) AS in_flight
        FROM waiting_owner w WHERE w.owner IS NOT NULL
    ), turn AS (
        SELECT next.id, row_number() OVER (PARTITION BY load.owner ORDER BY next.lane DESC, next.created) AS round
        FROM load CROSS JOIN LATERAL (
            SELECT s.id, s.lane, s.created FROM document_step s
            WHERE s.owner = load.owner AND {_WAITING} AND s.due_at <= clock_timestamp()
            ORDER BY s.lane DESC, s.created
            LIMIT greatest(:in_flight - load.in_flight, 0)
        ) next
    ), held AS (
        SELECT s.id, turn.round FROM document_step s JOIN turn ON turn.id = s.id WHERE {_WAITING}
        FOR UPDATE OF s SKIP LOCKED
    ), released AS (
        UPDATE document_step SET dispatch = 1, due_at = clock_timestamp() + :first_due
        FROM held WHERE document_step.id = held.id
        RETURNING {", ".join(f"document_step.{c}" for c in STEP_COLUMNS.split(", "))}, held.round
    )
    SELECT {STEP_COLUMNS} FROM released ORDER BY round, owner
    """
)


@dataclass(slots=True)
class FairRelease:
    """``run`` is safe on several reconcilers: an advisory lock lets one of them decide at a time."""

    engine: AsyncEngine
    courier: Courier
    policy: WorkPolicy
    in_flight_per_owner: int

    async def run(self) -> int:
        """Returns how many documents were released."""
        async with self.engine.begin() as conn:
            locked = await conn.execute(text("SELECT pg_try_advisory_xact_lock(:key)"), {"key": RELEASE_LOCK})
            if not locked.scalar_one():
                return 0
            parameters = {"in_flight": self.in_flight_per_owner, "first_due": self.policy.first_due}
            rows = [StepRow(**row._mapping) for row in await conn.execute(_RELEASE, parameters)]
        await self.courier.send([step_dispatch(row, source=SOURCE) for row in rows])
        return len(rows)


class Waker:
    """Runs the release soon after a wake; many wakes in a row become one run."""

    def __init__(self, release: FairRelease) -> None:
        self._release = release
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def run(self) -> None:
        while True:
            await self._woken.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._woken.clear()
            try:
                await self._release.run()
            except (SQLAlchemyError, OSError) as err:
                log.warning("release.failed", error=repr(err))  # the timer comes back to it
