"""Messages that the server gave up: counted, kept as dead letters, and taken out of their queue.

The database gives work up long before the server does, so each of them means a defect. Nothing is lost by it: the
job is redriven when it is due.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from nats.js.errors import NotFoundError

from aperag_common import errors
from aperag_common.bus import topology
from aperag_common.bus.delivery import current_delivery
from aperag_common.subjects import AdvisoryKind
from aperag_reconciler.advisories.decide import Original, letter_of
from aperag_work import dead_letters

if TYPE_CHECKING:
    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_reconciler.advisories.message import Advisory
    from aperag_work.database import Database

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Advisories:
    """Safe to repeat: the letter comes first, under an id of the advisory's own."""

    database: Database
    bus: Bus
    metrics: Metrics

    async def keep(self, advisory: Advisory) -> None:
        if advisory.stream not in {stream.name for stream in topology.advised()}:
            raise errors.InvalidMessage(f"no stream of ours: {advisory.stream}")
        if advisory.acked_before_a_crash:
            log.info("message.acked_before_a_crash", stream=advisory.stream, sequence=advisory.stream_seq)
            return
        delivery = current_delivery.get()
        original = await self._original(advisory)
        letter = letter_of(advisory, original, delivery.subject if delivery else "")
        async with self.database.durable.acquire() as conn:
            first = await dead_letters.add(conn, letter)
        if first:
            self._report(advisory)
        if original is not None and advisory.kind is AdvisoryKind.MAX_DELIVERIES:
            await self._remove(advisory)

    async def _original(self, advisory: Advisory) -> Original | None:
        """None where the message is gone, as those are that a consumer ended."""
        try:
            found = await self.bus.js.get_msg(advisory.stream, advisory.stream_seq)
        except NotFoundError:
            return None
        return Original(found.subject or "", found.data or b"", found.headers or {})

    async def _remove(self, advisory: Advisory) -> None:
        """It would lie in the queue for ever, and take room from those that are delivered."""
        try:
            await self.bus.js.delete_msg(advisory.stream, advisory.stream_seq)
        except NotFoundError:
            log.info("message.already_removed", stream=advisory.stream, sequence=advisory.stream_seq)

    def _report(self, advisory: Advisory) -> None:
        self.metrics.advisories.labels(advisory.kind.value, advisory.consumer).inc()
        self.metrics.dead_letters.labels(advisory.kind.value).inc()
        log.error(
            "message.given_up",
            kind=advisory.kind.value,
            stream=advisory.stream,
            consumer=advisory.consumer,
            sequence=advisory.stream_seq,
            deliveries=advisory.deliveries,
            reason=advisory.reason,
        )
