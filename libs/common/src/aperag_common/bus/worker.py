"""A FastStream broker whose subscribers are fed by our consume loops."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from faststream import AckPolicy
from faststream.nats import JStream, NatsBroker, PullSub

from aperag_common.bus.consume import ConsumeLoop
from aperag_common.bus.topology import consumer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.delivery import Delivery
    from aperag_common.metrics import Metrics


def make_broker(url: str) -> NatsBroker:
    """Declares handlers and describes them (AsyncAPI); it never connects: the loops bring the messages."""
    # Its log would be two lines per message and every failure a second time; what happens is logged by the loop.
    return NatsBroker(url, logger=None)


@dataclass(frozen=True, slots=True)
class ConsumerLoad:
    """``busy`` of ``slots`` messages of one consumer are at work in this process."""

    name: str
    slots: int
    busy: int


class Worker:
    """All consume loops of one process."""

    def __init__(
        self,
        broker: NatsBroker,
        bus: Bus,
        metrics: Metrics,
        poison: Callable[[Delivery, Exception], Awaitable[None]],
        *,
        beat: float = 10.0,
    ) -> None:
        self.loops: list[ConsumeLoop] = []
        self._broker = broker
        self._bus = bus
        self._metrics = metrics
        self._poison = poison
        self._beat = beat

    def subscribe(self, name: str, handler: Callable[..., Awaitable[Any]], *, slots: int) -> None:
        """``handler``'s first parameter is the message's type; FastStream validates into it."""
        spec = consumer(name)
        subscriber = self._broker.subscriber(
            spec.filters[0] if len(spec.filters) == 1 else "",
            config=None if len(spec.filters) == 1 else spec.config(),
            stream=JStream(spec.stream, declare=False),
            durable=spec.name,
            pull_sub=PullSub(),
            ack_policy=AckPolicy.MANUAL,
            no_reply=True,
        )
        subscriber(handler)
        beat = min(self._beat, spec.beat)
        loop = ConsumeLoop(
            self._bus, spec, subscriber, slots=slots, metrics=self._metrics, poison=self._poison, beat=beat
        )
        self._metrics.slots.labels(name).set(slots)
        self._metrics.busy_slots.labels(name).set_function(lambda: loop.busy)
        self.loops.append(loop)

    async def start(self) -> None:
        # What connect() would do besides connecting; pinned with FastStream's version.
        self._broker._setup_logger()  # noqa: SLF001
        for loop in self.loops:
            await loop.start()

    async def stop(self) -> None:
        """All at once: they share one grace period, which the supervisor's patience is made for."""
        await asyncio.gather(*(loop.stop() for loop in self.loops))

    def loads(self) -> list[ConsumerLoad]:
        """How busy this process is, for whoever looks at all of them."""
        return [ConsumerLoad(loop.spec.name, loop.slots, loop.busy) for loop in self.loops]

    async def moving(self) -> str | None:
        """For readiness: why one of the consumers does not move."""
        problems = [problem for loop in self.loops if (problem := loop.problem()) is not None]
        return "; ".join(problems) or None
