"""Timers: every reconciler publishes ticks, whichever gets one does the work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Settled

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from aperag_common.bus.publish import Publisher
    from aperag_common.events.ticks import Tick
    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Timer:
    """``job`` must be safe to run twice at once: a tick is delivered at least once."""

    name: str
    period: timedelta
    job: Callable[[], Awaitable[Any]]


class Clockwork:
    """The ticks are durable and at most one per timer waits, so N reconcilers make one."""

    def __init__(self, publisher: Publisher, metrics: Metrics, timers: Mapping[str, Timer]) -> None:
        self._publisher = publisher
        self._metrics = metrics
        self._timers = timers

    async def publish(self, timer: Timer) -> None:
        """Runs until cancelled; the first tick comes at once, so that a start looks after what was left."""
        while True:
            delay = timer.period.total_seconds()
            try:
                await self._publisher.tick(timer.name)
            except errors.UpstreamUnavailable as err:
                log.warning("tick.unpublished", timer=timer.name, error=err.message)
                delay = min(delay, RETRY_SECONDS)
            await asyncio.sleep(delay)

    async def run(self, tick: Tick) -> None:
        """A job that fails is not repeated by its message: the next tick is never far."""
        timer = self._timers.get(tick.timer)
        if timer is None:
            log.warning("tick.unknown", timer=tick.timer)
            return
        lateness = (datetime.now(UTC) - tick.time).total_seconds()
        self._metrics.timer_lateness.labels(timer.name).set(max(lateness, 0.0))
        try:
            await timer.job()
        except (SQLAlchemyError, OSError, errors.ApeRAGError) as err:
            log.warning("timer.failed", timer=timer.name, error=repr(err))
            raise Settled(Ack(outcome="failed")) from err
