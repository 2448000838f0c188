"""How much is pending and who works: jobs, consumers, streams and processes, as metrics."""

from __future__ import annotations

import asyncio
import math
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from nats import errors as nats_errors
from nats.js import errors as js_errors
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common.bus import specs, topology
from aperag_common.db.session import autocommit
from aperag_common.jobs.declared import DOCUMENTS
from aperag_common.jobs.kind import kinds
from aperag_common.services import Service
from aperag_reconciler.timers import repository as timers
from aperag_work import backlog
from aperag_work.heartbeat import SEEN_SECONDS

if TYPE_CHECKING:
    from collections.abc import Container, Iterable, Mapping

    from prometheus_client import Gauge
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

REST = 10
"""The pause is at least so many times what the measuring took: under a huge backlog it comes less often."""

_INSTANCES = text(
    """
    SELECT service, count(*) AS processes FROM service_instance
    WHERE seen > clock_timestamp() - make_interval(secs => :seconds) GROUP BY service
    """
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Every replica measures on a timer of its own, so that none tells old figures; the figures are the same."""

    bus: Bus
    engine: AsyncEngine
    metrics: Metrics

    async def run(self, period: float) -> None:
        """Until cancelled."""
        while True:
            started = time.monotonic()
            try:
                await self.measure()
            except (SQLAlchemyError, OSError) as err:
                log.warning("backlog.unmeasured", error=repr(err))
            await asyncio.sleep(max(period, REST * (time.monotonic() - started)))

    async def measure(self) -> None:
        async with autocommit(self.engine) as conn:
            await self._rows(conn)
            needed = await backlog.needed(conn)
            await self._processes(conn, needed)
        for stream in topology.streams():
            try:
                await self._stream(stream, needed)
            except (nats_errors.Error, js_errors.Error, TimeoutError) as err:
                log.warning("stream.unmeasured", stream=stream.name, error=repr(err))

    async def _rows(self, conn: AsyncConnection) -> None:
        totals = await backlog.totals(conn)
        self.metrics.oldest_due_age_seconds.set(totals.oldest_due_seconds)
        self.metrics.outbox_unrelayed.set(totals.unrelayed_events)
        self.metrics.oldest_unrelayed_age_seconds.set(totals.oldest_unrelayed_seconds)
        self.metrics.open_dead_letters.set(totals.open_dead_letters)
        rows = await backlog.open_work(conn)
        for timer, ago in (await timers.successes(conn)).items():
            self.metrics.timer_success_age.labels(timer).set(ago)
        _set(self.metrics.open_steps, _summed(((it.consumer, it.state), it.rows) for it in rows))
        of_documents = {work.consumer for kind in kinds() if kind.group == DOCUMENTS for work in kind.works}
        waiting = (it for it in rows if it.state == backlog.WorkState.WAITING and it.consumer in of_documents)
        _set(self.metrics.waiting_documents, _summed(((it.lane,), it.rows) for it in waiting))
        tasks = await backlog.open_tasks(conn)
        _set(self.metrics.open_tasks, {(it.kind,): it.tasks for it in tasks})
        _set(self.metrics.oldest_task_age_seconds, {(it.kind,): it.oldest_seconds for it in tasks})
        failed = await backlog.failed_work(conn)
        _set(self.metrics.failed_steps, {(consumer,): rows for consumer, rows in failed.items()})

    async def _processes(self, conn: AsyncConnection, needed: Container[Service]) -> None:
        found = {row.service: row.processes for row in await conn.execute(_INSTANCES, {"seconds": SEEN_SECONDS})}
        for service in Service:
            if service in needed or service in found:
                # Zero is said: a series that is gone alarms nobody.
                self.metrics.service_instances.labels(service).set(found.get(service, 0))
            else:
                self.metrics.service_instances.remove(service)

    async def _stream(self, stream: specs.StreamSpec, needed: Container[Service]) -> None:
        info = await self.bus.js.stream_info(stream.name)
        self.metrics.stream_messages.labels(stream.name).set(info.state.messages)
        self.metrics.stream_bytes.labels(stream.name).set(info.state.bytes)
        self.metrics.stream_max_bytes.labels(stream.name).set(stream.max_bytes if stream.max_bytes > 0 else math.inf)
        for consumer in stream.consumers:
            found = await self.bus.js.consumer_info(consumer.stream, consumer.name)
            pending = found.num_pending or 0 if consumer.service in needed else 0
            self.metrics.consumer_pending.labels(consumer.name).set(pending)
            self.metrics.consumer_ack_pending.labels(consumer.name).set(found.num_ack_pending or 0)


def _summed(parts: Iterable[tuple[tuple[str, ...], int]]) -> dict[tuple[str, ...], int]:
    whole: Counter[tuple[str, ...]] = Counter()
    for labels, rows in parts:
        whole[labels] += rows
    return whole


def _set(gauge: Gauge, values: Mapping[tuple[str, ...], float]) -> None:
    """``values`` by labels; what is not among them any more reads 0, for a series that ends keeps nobody informed."""
    gone = [sample.labels for family in gauge.collect() for sample in family.samples]
    for names in gone:
        gauge.labels(**names).set(0)
    for labels, value in values.items():
        gauge.labels(*labels).set(value)
