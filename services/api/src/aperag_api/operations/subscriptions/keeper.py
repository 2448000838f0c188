"""Consumers follow the rows: lost ones are made again, those of deleted subscriptions and users are removed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import structlog

from aperag_api.kernel.reading import reading
from aperag_api.operations.subscriptions import repository
from aperag_api.operations.subscriptions.diff import diff
from aperag_common import errors
from aperag_common.tasks import end_tasks, repeat
from aperag_work.database import FAILURES

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.operations.subscriptions.consumers import Consumers
    from aperag_common.bus.connection import Bus

log = structlog.get_logger(__name__)

PERIOD_SECONDS = 30.0
AGAIN_SECONDS = 1.0


class SubscriptionKeeper:
    """Every gateway has one; what several do at once is done once. A wiped store is a server that comes back anew."""

    def __init__(self, bus: Bus, engine: AsyncEngine, consumers: Consumers) -> None:
        self._bus = bus
        self._engine = engine
        self._consumers = consumers
        self._again = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    def start(self) -> None:
        self._bus.reconnected.append(self.request)
        repairs = repeat(
            self.repair,
            every=PERIOD_SECONDS,
            failed="subscriptions.not_repaired",
            expected=(errors.UpstreamUnavailable, *FAILURES),
            again=AGAIN_SECONDS,
            woken=self._again,
        )
        self._running = asyncio.create_task(repairs)

    async def close(self) -> None:
        running, self._running = self._running, None
        if running is not None:
            self._bus.reconnected.remove(self.request)
            await end_tasks(running)

    async def request(self) -> None:
        self._again.set()

    async def repair(self) -> None:
        """Raises what the database or NATS raise."""
        stream = await self._consumers.stream()
        found = await self._consumers.subscriptions()
        async with reading(self._engine) as conn:
            rows = await repository.every(conn)
        wanted = diff(found, rows)
        for row in wanted.make:
            await self._consumers.make(row, stream.created)
            log.warning("subscription.repaired", subscription_id=row.id, owner=row.owner)
        for subscription_id in wanted.remove:
            await self._consumers.remove(subscription_id)
            log.info("subscription.removed", subscription_id=subscription_id)
