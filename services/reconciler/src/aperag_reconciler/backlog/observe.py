"""How much waits: consumers, due rows and unrelayed events, as metrics."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from nats import errors as nats_errors
from nats.js import errors as js_errors
from sqlalchemy import text

from aperag_common.bus import topology

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

_BACKLOG = text(
    """
    SELECT
        (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)::float FROM document_step
         WHERE status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')
             AND due_at <= clock_timestamp() AND dispatch > 0) AS oldest_due,
        (SELECT count(*) FROM outbox WHERE epoch IS NULL OR epoch < (
            SELECT epoch FROM stream_epoch WHERE stream = 'APERAG_EVENTS')) AS unrelayed
    """
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """Every replica measures; the figures are the same."""

    bus: Bus
    engine: AsyncEngine
    metrics: Metrics

    async def measure(self) -> None:
        async with self.engine.connect() as conn:
            row = (await conn.execute(_BACKLOG)).one()
        self.metrics.oldest_due_age_seconds.set(row.oldest_due)
        self.metrics.outbox_unrelayed.set(row.unrelayed)
        for stream in topology.STREAMS:
            for consumer in stream.consumers:
                await self._measure(consumer)

    async def _measure(self, consumer: topology.ConsumerSpec) -> None:
        try:
            info = await self.bus.js.consumer_info(consumer.stream, consumer.name)
        except (nats_errors.Error, js_errors.Error, TimeoutError) as err:
            log.warning("consumer.unmeasured", consumer=consumer.name, error=repr(err))
            return
        self.metrics.consumer_pending.labels(consumer.name).set(info.num_pending or 0)
        self.metrics.consumer_ack_pending.labels(consumer.name).set(info.num_ack_pending or 0)
