"""The pull loop in front of FastStream: it fetches, FastStream decodes, validates and calls, this settles.

FastStream's own pull loop spins when its consumer vanishes, freezes the event loop when reconnects run out,
waits for the slowest message of a batch and forgets what it holds at shutdown; so its subscriber is set up but
never started, and every raw message is handed to ``process_message``.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from faststream._internal.endpoint.subscriber.usecase import SubscriberUsecase
from nats import errors as nats_errors
from nats.js import errors as js_errors
from opentelemetry.trace import SpanKind, StatusCode
from pydantic import ValidationError

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Delivery, Nak, Settled, Settlement, current_delivery
from aperag_common.bus.movement import Movement
from aperag_common.bus.pull import PULL_SECONDS, Pull
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from faststream.nats.subscriber.usecases import PullStreamSubscriber
    from nats.aio.msg import Msg

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.topology import ConsumerSpec
    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.002
"""Where few slots are free, more will be by then, and one request serves them all."""
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
UNAVAILABLE = (nats_errors.Error, js_errors.Error, TimeoutError, OSError)


class Starved(js_errors.Error):
    """The subscription brings nothing of what waits: bind again."""


class ConsumeLoop:
    """Feeds one subscriber from one durable consumer with at most ``slots`` messages at a time.

    ``poison`` records a message that does not fit its type; if it raises, the message is delivered again.
    """

    def __init__(
        self,
        bus: Bus,
        spec: ConsumerSpec,
        subscriber: PullStreamSubscriber,
        *,
        slots: int,
        metrics: Metrics,
        poison: Callable[[Delivery, Exception], Awaitable[None]],
        beat: float = 10.0,
        grace: float = 20.0,
    ) -> None:
        self.spec = spec
        self.state = Movement()
        self._bus = bus
        self._subscriber = subscriber
        self._slots = slots
        self._free = slots
        self._freed = asyncio.Event()
        self._metrics = metrics
        self._poison = poison
        self._beat = beat
        self._grace = grace
        self._running: set[asyncio.Task[None]] = set()
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        # The base class builds the call model; the NATS subclass would also start the stock pull loop.
        await SubscriberUsecase.start(self._subscriber)
        self._task = asyncio.create_task(self._run(), name=f"consume-{self.spec.name}")

    @property
    def slots(self) -> int:
        return self._slots

    @property
    def busy(self) -> int:
        """Messages at work; for a moment more than ``slots``, where the client hands out more than was asked for."""
        return self._slots - self._free

    def request_stop(self) -> None:
        self._stopping.set()

    async def stop(self) -> None:
        """Fetch no more, let running messages end within the grace period, give the rest back."""
        self.request_stop()
        if self._task is not None:
            await self._task
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=self._grace)
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)

    def problem(self) -> str | None:
        """Why this consumer does not move, or None; for readiness."""
        if self._task is None or self._task.done():
            return "the consume loop is not running"
        return self.state.problem(self.spec.name, free=self._free)

    async def _run(self) -> None:
        pull: Pull | None = None
        failures = 0
        # What was asked for before the stop still comes, and would come again only after ack_wait.
        while not self._stopping.is_set() or (pull is not None and pull.under_way and not failures):
            try:
                if pull is None:
                    pull = await self._bind()
                await self._pump(pull)
                failures = 0
            except Exception as err:  # nobody would start this loop again: it outlives whatever it meets
                # Consumer or stream gone, server away: come back slower.
                delay = BACKOFF_SECONDS[min(failures, len(BACKOFF_SECONDS) - 1)]
                failures += 1
                if not isinstance(err, UNAVAILABLE):
                    log.exception("consumer.failed", consumer=self.spec.name)
                elif failures == 1:
                    log.warning("consumer.unavailable", consumer=self.spec.name, error=repr(err))
                self.state.bound = False
                if self._bus.connected:
                    await self._unbind(pull)
                    pull = None
                # Else it is kept: what the client buffers while the server is away (the subscription, a request
                # for messages) is sent at the reconnect, and an answer must find somebody who still listens.
                await _at_most(delay, self._stopping)
        await self._unbind(pull)

    async def _bind(self) -> Pull:
        await self._bus.js.consumer_info(self.spec.stream, self.spec.name)
        pull = await Pull.open(self._bus, self.spec.stream, self.spec.name)
        self.state.answered(fetched=False)
        log.info("consumer.bound", consumer=self.spec.name)
        return pull

    async def _unbind(self, pull: Pull | None) -> None:
        if pull is not None:
            with contextlib.suppress(nats_errors.Error):
                await pull.close()

    async def _pump(self, pull: Pull) -> None:
        """Ask for as many messages as there are free slots, never more: a buffered message's lease would expire.

        More can come all the same: the late answer to an earlier request.
        """
        if self._free <= 0:
            self.state.fed()
            self._freed.clear()
            await _at_most(PULL_SECONDS, self._freed)
            return
        if not pull.under_way and self._free * 4 < self._slots:
            await asyncio.sleep(GATHER_SECONDS)
        try:
            raw = await pull.next(self._free)
        except TimeoutError:  # the client raises its own subclass
            if not self._bus.connected:
                raise
            raw = None
        self.state.answered(fetched=raw is not None)
        if raw is None:
            await self._look()
            return
        self._free -= 1
        task = asyncio.create_task(self._process(Delivery(self.spec.name, raw)))
        self._running.add(task)
        task.add_done_callback(self._done)

    async def _look(self) -> None:
        """Nothing came: where something waits all the same, the way here is broken, and is made anew."""
        if not self.state.wants_look():
            return
        info = await self._bus.js.consumer_info(self.spec.stream, self.spec.name)
        if not self.state.saw(info.num_pending or 0):
            message = f"{info.num_pending} messages wait, and none comes"
            raise Starved(message)

    def _done(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        self._free += 1
        self._freed.set()

    async def _process(self, delivery: Delivery) -> None:
        current_delivery.set(delivery)
        started = time.monotonic()
        beat = asyncio.create_task(delivery.beat(self._beat))
        settlement: Settlement = Nak(timedelta(0), outcome="interrupted")
        try:
            with propagate.tracer().start_as_current_span(
                f"process {delivery.subject}",
                context=propagate.extract(delivery.headers),
                kind=SpanKind.CONSUMER,
                attributes=self._attributes(delivery),
            ) as span:
                settlement = await self._outcome(delivery)
                span.set_attribute("aperag.outcome", settlement.outcome)
                if isinstance(settlement, Nak):
                    span.set_status(StatusCode.ERROR, settlement.outcome)
        finally:
            beat.cancel()
            # Also when this task was cancelled at shutdown: what is held goes back at once.
            await asyncio.shield(self._settle(delivery.raw, settlement))
            self._metrics.attempts.labels(self.spec.name, settlement.outcome).inc()
            self._metrics.duration.labels(self.spec.name).observe(time.monotonic() - started)

    def _attributes(self, delivery: Delivery) -> dict[str, Any]:
        if delivery.number > 1:
            self._metrics.redeliveries.labels(self.spec.name).inc()
        else:
            self._metrics.lag.labels(self.spec.name).observe(max(delivery.age().total_seconds(), 0.0))
        return {
            "messaging.system": "nats",
            "messaging.operation.name": "process",
            "messaging.destination.name": delivery.subject,
            "messaging.consumer.group.name": self.spec.name,
            "messaging.message.id": delivery.headers.get("Nats-Msg-Id", ""),
            "messaging.nats.num_delivered": delivery.number,
        }

    async def _outcome(self, delivery: Delivery) -> Settlement:
        try:
            await self._subscriber.process_message(delivery.raw)
        except Settled as decided:
            return decided.settlement
        except (ValidationError, errors.InvalidMessage) as err:
            return await self._poisoned(delivery, err)
        except Exception:  # the settle point: nothing below may end the loop or lose the message
            log.exception("message.failed", consumer=self.spec.name, subject=delivery.subject)
            return Nak(unexpected_delay(delivery.number), outcome="error")
        return Ack()

    async def _poisoned(self, delivery: Delivery, err: Exception) -> Settlement:
        try:
            await self._poison(delivery, err)
        except Exception:  # the database is away: keep the message until its end can be recorded
            log.exception("poison.unrecorded", consumer=self.spec.name)
            return Nak(unexpected_delay(delivery.number), outcome="error")
        return Ack(outcome="poison")

    async def _settle(self, raw: Msg, settlement: Settlement) -> None:
        try:
            match settlement:
                case Ack():
                    # Wait for the server: an ack that is lost means a needless redelivery.
                    await raw.ack_sync(timeout=5)
                case Nak(delay=delay):
                    await raw.nak(delay=delay.total_seconds() or None)
        except UNAVAILABLE as err:
            log.warning("message.unsettled", consumer=self.spec.name, error=repr(err))


def unexpected_delay(number: int) -> timedelta:
    """After the ``number``-th delivery: 2 s doubling to 30 s, so that the consumer's ``max_deliver`` outlasts an
    outage of the database by most of an hour.
    """
    return timedelta(seconds=min(1 << min(number, 10), 30))


async def _at_most(seconds: float, event: asyncio.Event) -> None:
    """Not wait_for: Python 3.11's may swallow a cancellation that meets its result."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()
