"""Keeps streams and consumers as the topology says, and notices when the store has been wiped."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog
from nats import errors as nats_errors
from nats.js import errors as js_errors
from sqlalchemy import text

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.tasks import wait_at_most
from aperag_work.database import FAILURES
from aperag_work.redrive import mark_wiped

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.redrive import Redrive

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

    def __init__(
        self, bus: Bus, engine: AsyncEngine, dispatcher: Dispatcher, redrive: Redrive, *, period: float
    ) -> None:
        self._bus = bus
        self._engine = engine
        self._dispatcher = dispatcher
        self._redrive = redrive
        self._period = period
        self._again = asyncio.Event()
        self.applied = asyncio.Event()
        self._problem: str | None = "the topology has not been applied yet"
        self._unchangeable: tuple[str, ...] = ()
        self._retired = False
        bus.reconnected.append(self.request)

    async def request(self) -> None:
        """Apply now; after a reconnect the server may be another one."""
        self._again.set()

    async def problem(self) -> str | None:
        return self._problem

    async def difference(self) -> str | None:
        """What of a stream is not as it should be and needs a person: it is recreated, or the setting is taken back."""
        return "; ".join(self._unchangeable) or None

    async def run(self) -> None:
        while True:
            delay = self._period if await self.apply() else 1.0
            self._again.clear()
            await wait_at_most(delay, self._again)

    async def apply(self) -> bool:
        try:
            if not self._retired:
                await topology.retire_consumers(self._bus.js)
                self._retired = True
            applied = await topology.apply(self._bus.js)
            await self._note_epochs(applied.created)
        except (nats_errors.Error, js_errors.Error, *FAILURES) as err:
            return self._unapplied(repr(err))
        if applied.refused:
            return self._unapplied("; ".join(applied.refused))
        if applied.unchangeable != self._unchangeable:
            self._unchangeable = applied.unchangeable
            log.warning("topology.differs", differences=list(applied.unchangeable))
        self._problem = None
        self.applied.set()
        return True

    def _unapplied(self, error: str) -> bool:
        self._problem = f"the topology could not be applied: {error}"
        self._retired = False  # an older replica may have brought a consumer back that blocks its successor
        log.warning("topology.unapplied", error=error)
        return False

    async def _note_epochs(self, created: dict[str, datetime]) -> None:
        """A stream that began anew has lost its messages: events are relayed again, commands published again."""
        for stream in (subjects.EVENTS, subjects.COMMANDS, subjects.TURNS):
            if stream not in created:
                continue
            lost = 0
            async with self._engine.begin() as conn:
                epoch = (await conn.execute(_RAISE_EPOCH, {"stream": stream, "created": created[stream]})).scalar()
                if epoch is not None and epoch > 1:
                    # With the epoch or not at all: nobody looks again at one that is known.
                    lost = await mark_wiped(conn, stream)
            if epoch is not None:
                log.warning("stream.new_epoch", stream=stream, epoch=epoch, jobs=lost)
            if lost:
                await self._redrive.run()
        await self._dispatcher.epoch(refresh=True)
