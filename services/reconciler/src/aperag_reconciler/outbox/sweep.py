"""Relays events that a crash left behind, and all retained ones again after the stream was wiped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text

from aperag_common.work.outbox import Fact

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.work.courier import Courier

log = structlog.get_logger(__name__)

BATCH = 500
YOUNG = timedelta(seconds=2)
"""Rows younger than this are still in the hands of the process that wrote them."""

# No cursor over an id or a time: late commits would be skipped. What is not marked with this epoch is found again.
_UNRELAYED = text(
    """
    SELECT id, subject, payload, traceparent FROM outbox
    WHERE (epoch IS NULL OR epoch < :epoch) AND created < clock_timestamp() - CAST(:young AS interval)
    ORDER BY created LIMIT :limit
    """
)


@dataclass(frozen=True, slots=True)
class OutboxSweep:
    """Two sweeps at once publish the same ids, which the stream drops as duplicates."""

    engine: AsyncEngine
    courier: Courier

    async def run(self) -> int:
        """Returns how many events were relayed."""
        epoch = await self.courier.epoch(refresh=True)
        if epoch == 0:
            return 0  # nobody has seen the stream yet: nothing could be marked
        total = 0
        while True:
            async with self.engine.connect() as conn:
                rows = await conn.execute(_UNRELAYED, {"epoch": epoch, "young": YOUNG, "limit": BATCH})
                facts = [Fact(r.id, r.subject, r.payload, r.traceparent) for r in rows]
            relayed = await self.courier.relay(facts)
            await self.courier.marked()
            total += relayed
            if relayed < BATCH:
                break
        if total:
            log.info("outbox.swept", events=total)
        return total
