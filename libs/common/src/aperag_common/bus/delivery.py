"""One delivery of one message, as the code that works on it may see it."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from nats.aio.msg import Msg


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

INTERRUPTED = Nak(timedelta(0), outcome="interrupted")


class Settled(Exception):  # control flow: carries a decision, tells of no error
    """Raised by what has already recorded the outcome and knows what the message is to be told."""

    def __init__(self, settlement: Settlement) -> None:
        super().__init__(settlement)
        self.settlement = settlement


@dataclass(slots=True, eq=False)
class Delivery:
    """Whoever works on it settles it once; what nobody has settled when its work ends goes back to the server."""

    consumer: str
    raw: Msg
    on_settled: Callable[[Delivery, Settlement], None] = lambda *_: None
    settled: bool = False

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

    def settle(self, settlement: Settlement) -> None:
        """Returns at once; a second settlement is ignored."""
        if not self.settled:
            self.settled = True
            self.on_settled(self, settlement)


current_delivery: ContextVar[Delivery | None] = ContextVar("current_delivery", default=None)
