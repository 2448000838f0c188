"""Timers: every reconciler publishes ticks, whichever gets one does the work and says so in the timer's row."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import structlog

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Settled
from aperag_common.db.session import autocommit
from aperag_reconciler.timers import repository
from aperag_work.database import FAILURES
from aperag_work.failures import storable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.publish import Publisher
    from aperag_common.events.ticks import Tick, TimerName
    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

RETRY_SECONDS = 2.0
OK, FAILED = "ok", "failed"


@dataclass(frozen=True, slots=True)
class Timer:
    """``job`` must be safe to run twice at once: a tick is delivered at least once."""

    name: TimerName
    period: timedelta
    job: Callable[[], Awaitable[Any]]


class TimerRunner:
    """The ticks are durable and at most one per timer waits, so N reconcilers make one."""

    def __init__(
        self,
        engine: AsyncEngine,
        publisher: Publisher,
        metrics: Metrics,
        timers: Mapping[str, Timer],
        *,
        instance: str,
    ) -> None:
        self._engine = engine
        self._publisher = publisher
        self._metrics = metrics
        self._timers = timers
        self._instance = instance

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
        lateness = max((datetime.now(UTC) - tick.time).total_seconds(), 0.0)
        self._metrics.timer_lateness.labels(timer.name).set(lateness)
        await self._started(timer, lateness)
        begun = time.monotonic()
        failure: Exception | None = None
        try:
            await timer.job()
        except (*FAILURES, errors.ApeRAGError) as err:
            log.warning("timer.failed", timer=timer.name, error=repr(err))
            failure = err
        except Exception as err:  # what nobody foresaw is told in the timer's row too
            log.exception("timer.failed_unexpectedly", timer=timer.name)
            failure = err
        self._metrics.timer_duration.labels(timer.name).observe(time.monotonic() - begun)
        self._metrics.timer_runs.labels(timer.name, OK if failure is None else FAILED).inc()
        await self._ended(timer, failure)
        if failure is not None:
            raise Settled(Ack(outcome=FAILED)) from failure

    async def _started(self, timer: Timer, lateness: float) -> None:
        try:
            async with autocommit(self._engine) as conn:
                period = timer.period.total_seconds()
                await repository.start(conn, timer.name, period=period, worker=self._instance, lateness=lateness)
        except FAILURES as err:
            log.warning("timer.unrecorded", timer=timer.name, error=repr(err))

    async def _ended(self, timer: Timer, failure: Exception | None) -> None:
        error = None if failure is None else storable(f"{type(failure).__name__}: {failure}")
        try:
            async with autocommit(self._engine) as conn:
                await repository.end(conn, timer.name, outcome=OK if failure is None else FAILED, error=error)
        except FAILURES as err:
            log.warning("timer.unrecorded", timer=timer.name, error=repr(err))
