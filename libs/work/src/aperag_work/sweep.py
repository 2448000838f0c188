"""Relays events that a crash left behind, and all retained ones again after the stream was wiped."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from aperag_work import outbox

if TYPE_CHECKING:
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher

log = structlog.get_logger(__name__)

BATCH = 500
YOUNG = timedelta(seconds=2)
"""Events younger than this are still in the hands of the process that wrote them."""


@dataclass(frozen=True, slots=True)
class OutboxSweep:
    """Two sweeps at once publish the same ids, which the stream drops as duplicates."""

    database: Database
    dispatcher: Dispatcher

    async def run(self) -> int:
        """Returns how many events were relayed."""
        epoch = await self.dispatcher.epoch(refresh=True)
        if epoch == 0:
            return 0  # nobody has seen the stream yet: nothing could be marked
        total = 0
        while True:
            async with self.database.durable.acquire() as conn:
                events = await outbox.unrelayed(conn, epoch, older_than=YOUNG, limit=BATCH)
            relayed = await self.dispatcher.relay(events)
            total += relayed
            if relayed < BATCH:
                break
        if total:
            log.info("outbox.swept", events=total)
        return total
