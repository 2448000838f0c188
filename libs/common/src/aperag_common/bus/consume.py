"""The pull loop: it fetches no more than there are free slots, hands over what has come, and settles.

FastStream's own pull loop spins when its consumer vanishes, freezes the event loop when reconnects run out, waits for
the slowest message of a batch and forgets what it holds at shutdown (ADR 0018); so its subscribers are declared and
never started.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from nats import errors as nats_errors
from nats.js import errors as js_errors

from aperag_common.bus.delivery import INTERRUPTED, Ack, Delivery, Nak, Settlement
from aperag_common.bus.liveness import Liveness
from aperag_common.bus.pull import PULL_SECONDS, Pull
from aperag_common.tasks import end_tasks, wait_at_most

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from nats.aio.msg import Msg

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.specs import ConsumerSpec
    from aperag_common.metrics import Metrics

    Work = Callable[[Sequence[Delivery]], Awaitable[None]]

log = structlog.get_logger(__name__)

MOST = 64
"""Messages handed over together: what one statement claims."""
GATHER_SECONDS = 0.002
"""Where few slots are free, more will be by then, and one request serves them all."""
BACKOFF_SECONDS = (0.1, 0.2, 0.5, 1.0, 2.0)
UNAVAILABLE = (nats_errors.Error, js_errors.Error, TimeoutError, OSError)
NANOSECONDS = 1_000_000_000


class Starved(js_errors.Error):
    """The subscription brings nothing of what waits: bind again."""


class ConsumeLoop:
    """Feeds ``work`` from one durable consumer with at most ``slots`` messages at a time.

    ``work`` settles each of its deliveries, each as soon as it can; its slot is free from then on.
    """

    def __init__(
        self,
        bus: Bus,
        spec: ConsumerSpec,
        work: Work,
        *,
        slots: int,
        metrics: Metrics,
        grace: float = 20.0,
    ) -> None:
        self.spec = spec
        self.state = Liveness()
        self._bus = bus
        self._work = work
        self._slots = slots
        self._free = slots
        self._freed = asyncio.Event()
        self._attempts = metrics.attempts
        self._redeliveries = metrics.redeliveries.labels(spec.name)
        self._lag = metrics.lag.labels(spec.name)
        self._duration = metrics.duration.labels(spec.name)
        self._grace = grace
        self._held: dict[Delivery, float] = {}
        self._running: set[asyncio.Task[None]] = set()
        self._unsettled: list[tuple[Msg, Settlement]] = []
        self._settling: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._task: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None

    async def start(self) -> None:
        self._task = asyncio.create_task(self._run(), name=f"consume-{self.spec.name}")
        self._beating = asyncio.create_task(self._beat(), name=f"beat-{self.spec.name}")

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
        deadline = time.monotonic() + self._grace
        if self._task is not None:
            # It takes what it has asked for, which needs free slots; what it cannot take comes again.
            await asyncio.wait([self._task], timeout=self._grace)
            await end_tasks(self._task)
        if self._running:
            _, late = await asyncio.wait(self._running, timeout=max(deadline - time.monotonic(), 0.0))
            for task in late:
                task.cancel()
            if late:
                await asyncio.wait(late)
        if self._settling is not None:
            await self._settling
        if self._beating is not None:
            await end_tasks(self._beating)
        with contextlib.suppress(*UNAVAILABLE):
            await self._bus.nc.flush()

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
                await wait_at_most(delay, self._stopping)
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
            await wait_at_most(PULL_SECONDS, self._freed)
            return
        if not pull.under_way and self._free * 2 < self._slots:
            await asyncio.sleep(GATHER_SECONDS)
        try:
            raws = await pull.next(min(self._free, MOST))
        except TimeoutError:
            if not self._bus.connected:
                raise
            raws = []
        self.state.answered(fetched=bool(raws))
        if raws:
            self._hand_over(raws)
        else:
            await self._look()

    async def _look(self) -> None:
        """Nothing came: where something waits all the same, the way here is broken, and is made anew."""
        if not self.state.wants_look():
            return
        info = await self._bus.js.consumer_info(self.spec.stream, self.spec.name)
        if not self.state.saw(info.num_pending or 0):
            message = f"{info.num_pending} messages wait, and none comes"
            raise Starved(message)

    def _hand_over(self, raws: Sequence[Msg]) -> None:
        now = time.monotonic()
        deliveries = [Delivery(self.spec.name, raw, self._on_settled) for raw in raws]
        for delivery in deliveries:
            self._held[delivery] = now
            if delivery.number > 1:
                self._redeliveries.inc()
            else:
                self._lag.observe(max(delivery.age().total_seconds(), 0.0))
        self._free -= len(deliveries)
        task = asyncio.create_task(self._process(deliveries))
        self._running.add(task)
        task.add_done_callback(self._running.discard)

    async def _process(self, deliveries: Sequence[Delivery]) -> None:
        settlement: Settlement = INTERRUPTED
        try:
            await self._work(deliveries)
        except Exception:  # the settle point: nothing below may end the loop or lose a message
            log.exception("messages.failed", consumer=self.spec.name, messages=len(deliveries))
            settlement = Nak(unexpected_delay(max(it.number for it in deliveries)), outcome="error")
        finally:
            # Also when this task was cancelled at shutdown: what is held goes back at once.
            for delivery in deliveries:
                delivery.settle(settlement)

    def _on_settled(self, delivery: Delivery, settlement: Settlement) -> None:
        started = self._held.pop(delivery, None)
        self._free += 1
        self._freed.set()
        self._attempts.labels(self.spec.name, settlement.outcome).inc()
        if started is not None:
            self._duration.observe(time.monotonic() - started)
        self._unsettled.append((delivery.raw, settlement))
        if self._settling is None or self._settling.done():
            self._settling = asyncio.create_task(self._settle_all())

    async def _settle_all(self) -> None:
        while self._unsettled:
            settled, self._unsettled = self._unsettled, []
            for raw, settlement in settled:
                await self._settle(raw, settlement)

    async def _settle(self, raw: Msg, settlement: Settlement) -> None:
        """Plainly: an acknowledgement that is lost means a delivery that finds its work done."""
        try:
            match settlement:
                case Ack():
                    await self._bus.nc.publish(raw.reply, b"+ACK")
                case Nak(delay=delay):
                    nanoseconds = int(delay.total_seconds() * NANOSECONDS)
                    body = b'-NAK {"delay": %d}' % nanoseconds if nanoseconds else b"-NAK"
                    await self._bus.nc.publish(raw.reply, body)
        except UNAVAILABLE as err:
            log.warning("message.unsettled", consumer=self.spec.name, error=repr(err))

    async def _beat(self) -> None:
        """Tell the server of every message that is still worked on."""
        while True:
            await asyncio.sleep(self.spec.beat)
            for delivery in list(self._held):
                try:
                    await self._bus.nc.publish(delivery.raw.reply, b"+WPI")
                except UNAVAILABLE as err:
                    # The lease is what counts; the message may come a second time and will find it held.
                    log.warning("delivery.beat_unsent", consumer=self.spec.name, error=repr(err))
                    break


def unexpected_delay(number: int) -> timedelta:
    """After the ``number``-th delivery: 2 s doubling to 30 s, so that the consumer's ``max_deliver`` outlasts an
    outage of the database by most of an hour.
    """
    return timedelta(seconds=min(1 << min(number, 10), 30))
