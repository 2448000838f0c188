"""All consume loops of one process, and how messages that are no jobs are worked on."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

import structlog
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import BaseModel, ValidationError

from aperag_common import errors
from aperag_common.bus.consume import ConsumeLoop, unexpected_delay
from aperag_common.bus.delivery import Ack, Nak, Settled, Settlement, current_delivery
from aperag_common.bus.topology import consumer
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.declared import Declared
    from aperag_common.bus.delivery import Delivery
    from aperag_common.bus.specs import ConsumerSpec
    from aperag_common.metrics import Metrics

    Poison = Callable[[Delivery, Exception], Awaitable[None]]

log = structlog.get_logger(__name__)

M = TypeVar("M", bound=BaseModel)


@dataclass(frozen=True, slots=True)
class ConsumerLoad:
    """``busy`` of ``slots`` messages of one consumer are at work in this process."""

    name: str
    slots: int
    busy: int


class Worker:
    """``poison`` records a message that fits no type; if it raises, the message is delivered again."""

    def __init__(self, bus: Bus, declared: Declared, metrics: Metrics, poison: Poison) -> None:
        self.loops: list[ConsumeLoop] = []
        self.declared = declared
        self.metrics = metrics
        self._poison = poison
        self._bus = bus

    def subscribe(self, name: str, message: type[M], handler: Callable[[M], Awaitable[Any]], *, slots: int) -> None:
        """Messages that are no jobs, each on its own: done where ``handler`` returns, again later where it raises."""
        spec = consumer(name)
        for subject in spec.filters:
            self.declared.receive(spec, subject, message)

        async def work(deliveries: Sequence[Delivery]) -> None:
            async with asyncio.TaskGroup() as group:
                for delivery in deliveries:
                    group.create_task(settle(spec, delivery, self._outcome(delivery, message, handler)))

        self.add(spec, work, slots=slots)

    def add(
        self, spec: ConsumerSpec, work: Callable[[Sequence[Delivery]], Awaitable[None]], *, slots: int
    ) -> ConsumeLoop:
        loop = ConsumeLoop(self._bus, spec, work, slots=slots, metrics=self.metrics)
        self.metrics.slots.labels(spec.name).set(slots)
        self.metrics.busy_slots.labels(spec.name).set_function(lambda: loop.busy)
        self.loops.append(loop)
        return loop

    async def start(self) -> None:
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

    async def _outcome(
        self, delivery: Delivery, message: type[M], handler: Callable[[M], Awaitable[Any]]
    ) -> Settlement:
        try:
            await handler(message.model_validate_json(delivery.raw.data))
        except Settled as decided:
            return decided.settlement
        except (ValidationError, errors.InvalidMessage) as err:
            await self._poison(delivery, err)
            return Ack(outcome="poison")
        return Ack()


async def settle(spec: ConsumerSpec, delivery: Delivery, work: Awaitable[Settlement]) -> None:
    """As ``work`` says, in a span of this attempt. An error that nobody foresaw is this message's own: it comes again, and
    others of its batch go on.
    """
    current_delivery.set(delivery)
    with _processing(spec, delivery) as span:
        settlement: Settlement
        try:
            settlement = await work
        except Exception:  # the settle point: nothing above it would bring the message back
            log.exception("message.failed", consumer=delivery.consumer, subject=delivery.subject)
            settlement = Nak(unexpected_delay(delivery.number), outcome="error")
        span.set_attribute("aperag.outcome", settlement.outcome)
        if isinstance(settlement, Nak):
            span.set_status(StatusCode.ERROR, settlement.outcome)
    delivery.settle(settlement)


def _processing(spec: ConsumerSpec, delivery: Delivery) -> Any:
    """In the trace of the message; the span's name holds no id."""
    return propagate.tracer().start_as_current_span(
        f"process {delivery.subject}",
        context=propagate.extract(delivery.headers),
        kind=SpanKind.CONSUMER,
        attributes={
            "messaging.system": "nats",
            "messaging.operation.name": "process",
            "messaging.destination.name": delivery.subject,
            "messaging.consumer.group.name": spec.name,
            "messaging.message.id": delivery.headers.get("Nats-Msg-Id", ""),
            "messaging.nats.num_delivered": delivery.number,
        },
    )
