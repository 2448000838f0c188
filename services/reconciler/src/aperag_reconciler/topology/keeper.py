"""Keeps streams and consumers as the topology says, and notices when the store has been wiped."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING

import structlog
from nats import errors as nats_errors
from nats.js import errors as js_errors
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common.bus import subjects, topology

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.work.courier import Courier

log = structlog.get_logger(__name__)

# A compare-and-set: of N reconcilers that see the same new stream, one raises the epoch.
_RAISE_EPOCH = text(
    """
    INSERT INTO stream_epoch (stream, epoch, stream_created) VALUES (:stream, 1, :created)
    ON CONFLICT (stream) DO UPDATE SET epoch = stream_epoch.epoch + 1, stream_created = excluded.stream_created,
        updated = clock_timestamp()
    WHERE stream_epoch.stream_created <> excluded.stream_created
    RETURNING epoch
    """
)


class TopologyKeeper:
    """Driven by a *local* timer: a tick could not arrive while its stream is missing."""

    def __init__(self, bus: Bus, engine: AsyncEngine, courier: Courier, *, period: float) -> None:
        self._bus = bus
        self._engine = engine
        self._courier = courier
        self._period = period
        self._again = asyncio.Event()
        self.applied = asyncio.Event()
        self._problem: str | None = "the topology has not been applied yet"
        bus.reconnected.append(self.request)

    async def request(self) -> None:
        """Apply now; after a reconnect the server may be another one."""
        self._again.set()

    async def problem(self) -> str | None:
        return self._problem

    async def run(self) -> None:
        while True:
            delay = self._period if await self.apply() else 1.0
            self._again.clear()
            # Not wait_for: Python 3.11's may swallow a cancellation, and this loop would outlive its process.
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(delay):
                    await self._again.wait()

    async def apply(self) -> bool:
        try:
            created = await topology.apply(self._bus.js)
            await self._note_epoch(created[subjects.EVENTS])
        except (nats_errors.Error, js_errors.Error, SQLAlchemyError, OSError) as err:
            self._problem = f"the topology could not be applied: {err!r}"
            log.warning("topology.unapplied", error=repr(err))
            return False
        self._problem = None
        self.applied.set()
        return True

    async def _note_epoch(self, created: datetime) -> None:
        async with self._engine.begin() as conn:
            epoch = (await conn.execute(_RAISE_EPOCH, {"stream": subjects.EVENTS, "created": created})).scalar()
        if epoch is not None:
            log.warning("stream.new_epoch", stream=subjects.EVENTS, epoch=epoch)
        await self._courier.epoch(refresh=True)
