"""Events become deliveries, as many together as have come together."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_common import subjects
from aperag_common.bus.consume import unexpected_delay
from aperag_common.bus.delivery import Ack, Nak
from aperag_work import deliveries
from aperag_work.change import Change
from aperag_work.database import FAILURES
from aperag_work.delivery_rules import EventToSend, fan_out
from aperag_work.rows import Dispatch

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from aperag_common.bus.delivery import Delivery
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.rows import JobRow

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class FanOut:
    """Endpoints are read anew for each batch: one that was made, changed or disabled counts at once."""

    database: Database
    dispatcher: Dispatcher
    in_flight_per_owner: int
    first_due: timedelta
    source: str

    async def run(self, messages: Sequence[Delivery]) -> None:
        """A message is acknowledged when its deliveries are committed; one that comes again makes no second ones."""
        try:
            jobs = await self._fan_out(messages)
        except FAILURES as err:
            log.warning("events.not_fanned_out", events=len(messages), error=repr(err))
            for message in messages:
                message.settle(Nak(unexpected_delay(message.number), outcome="error"))
            return
        self.dispatcher.deliver(Change(tuple(Dispatch(job, self.source) for job in jobs if job.dispatch > 0)))
        for message in messages:
            message.settle(Ack())

    async def _fan_out(self, messages: Sequence[Delivery]) -> list[JobRow]:
        """Most events are of owners who have no webhook: those are not even read."""
        by_owner: dict[str, list[Delivery]] = defaultdict(list)
        for message in messages:
            by_owner[_owner(message)].append(message)
        async with self.database.durable.acquire() as conn:
            endpoints = await deliveries.endpoints_of(conn, sorted(by_owner))
            wanted = [message for owner in {it.owner for it in endpoints} for message in by_owner[owner]]
            events = [event for message in wanted if (event := _event(message)) is not None]
            new = fan_out(events, endpoints)
            if not new:
                return []
            return await deliveries.insert(
                conn, new, in_flight_per_owner=self.in_flight_per_owner, first_due=self.first_due
            )


def _owner(message: Delivery) -> str:
    """Empty, which is nobody's, where the subject is none of an event."""
    try:
        return subjects.parse_event(message.subject).owner
    except ValueError:
        return ""


def _event(message: Delivery) -> EventToSend | None:
    try:
        return EventToSend.parse(message.raw.data, message.headers.get("traceparent"))
    except ValueError as err:
        # Nobody can send it, and it would come back for ever.
        log.error("event.unreadable", subject=message.subject, error=str(err)[:500])  # noqa: TRY400  no stack of ours
        return None
