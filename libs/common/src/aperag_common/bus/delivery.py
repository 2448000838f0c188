"""One delivery of one message, as the code that works on it may see it."""

from __future__ import annotations

import asyncio
from contextvars import ContextVar
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Ack:
    """The message has done its work, whatever that was; ``outcome`` is for the metrics."""

    outcome: str = "done"


@dataclass(frozen=True, slots=True)
class Nak:
    """Deliver it again after ``delay``."""

    delay: timedelta
    outcome: str = "retry"


Settlement = Ack | Nak


class Settled(Exception):  # control flow: carries a decision, tells of no error
    """Raised by what has already recorded the outcome and knows what the message is to be told."""

    def __init__(self, settlement: Settlement) -> None:
        super().__init__(settlement)
        self.settlement = settlement


@dataclass(slots=True)
class Delivery:
    """``beats`` are called every ``interval`` seconds while the message is worked on, beside its in_progress."""

    consumer: str
    raw: Msg
    beats: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    @property
    def subject(self) -> str:
        return self.raw.subject

    @property
    def headers(self) -> dict[str, str]:
        return self.raw.headers or {}

    @property
    def number(self) -> int:
        """1 for the first delivery."""
        return self.raw.metadata.num_delivered

    def age(self) -> timedelta:
        """Since its publish, by the clocks of the server and of this machine."""
        return datetime.now(UTC) - self.raw.metadata.timestamp

    async def beat(self, interval: float) -> None:
        """Runs until cancelled."""
        while True:
            await asyncio.sleep(interval)
            try:
                await self.raw.in_progress()
            except NatsError as err:
                # The lease below is what counts; the message may come a second time and will find it held.
                log.warning("delivery.beat_unsent", consumer=self.consumer, error=repr(err))
            for callback in list(self.beats):
                try:
                    await callback()
                except Exception:  # one beat that fails must not be the last: nobody else would start them again
                    log.exception("delivery.beat_failed", consumer=self.consumer)


current_delivery: ContextVar[Delivery | None] = ContextVar("current_delivery", default=None)
