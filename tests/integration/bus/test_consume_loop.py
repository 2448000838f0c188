"""The pull loop under everything that stops FastStream's own one (a real server, really killed and wiped)."""

from __future__ import annotations

import asyncio
import contextlib
import shutil
import time
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import BaseModel

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.bus import worker as worker_module
from aperag_common.bus.declared import Declared
from aperag_common.bus.delivery import Ack, Delivery, Nak, Settled
from aperag_common.bus.pull import Pull
from aperag_common.bus.worker import Worker
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from nats.aio.msg import Msg

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_standalone.nats import NatsServer

CONSUMER = "indexer-parse"
SUBJECT = subjects.PARSE_DOCUMENT


class Job(BaseModel):
    number: int


class Seen:
    """What the handler got, to wait for; ``poisoned`` holds what did not fit."""

    def __init__(self) -> None:
        self.numbers: list[int] = []
        self.poisoned: list[Exception] = []
        self._changed = asyncio.Condition()

    async def add(self, number: int) -> None:
        async with self._changed:
            self.numbers.append(number)
            self._changed.notify_all()

    async def poison(self, _: Delivery, err: Exception) -> None:
        async with self._changed:
            self.poisoned.append(err)
            self._changed.notify_all()

    async def until(self, condition: Callable[[], bool], *, within: float = 20) -> None:
        async with asyncio.timeout(within), self._changed:
            await self._changed.wait_for(condition)


@pytest.fixture
def seen() -> Seen:
    return Seen()


@contextlib.asynccontextmanager
async def working(
    bus: Bus,
    metrics: Metrics,
    seen: Seen,
    handle: Callable[[Job], Awaitable[None]],
    *,
    slots: int = 2,
) -> AsyncIterator[Worker]:
    worker = Worker(bus, Declared(), metrics, seen.poison)
    worker.subscribe(CONSUMER, Job, handle, slots=slots)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def publish(bus: Bus, *numbers: int) -> None:
    for number in numbers:
        await bus.js.publish(SUBJECT, Job(number=number).model_dump_json().encode(), stream=subjects.COMMANDS)


async def drained(bus: Bus, *, within: float = 20) -> None:
    """Until the server counts nothing as pending or unacked; polls, for there is no event for it."""
    async with asyncio.timeout(within):
        while True:
            info = await bus.js.consumer_info(subjects.COMMANDS, CONSUMER)
            if not info.num_pending and not info.num_ack_pending:
                return


async def test_messages_are_handled_and_acked(bus: Bus, metrics: Metrics, seen: Seen) -> None:
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)) as worker:
        await publish(bus, *range(20))
        await seen.until(lambda: len(seen.numbers) == 20)
        await drained(bus)
        assert await worker.moving() is None
    assert sorted(seen.numbers) == list(range(20))


async def test_more_messages_than_slots_are_worked_off_and_do_not_end_the_loop(
    bus: Bus, metrics: Metrics, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What has come is handed over, and after a reconnect that can be the answers to two requests."""
    fetch = Pull.next

    async def generous(pull: Pull, most: int) -> list[Msg]:
        return await fetch(pull, most + 3)

    monkeypatch.setattr(Pull, "next", generous)
    async with working(bus, metrics, seen, lambda job: seen.add(job.number), slots=1) as worker:
        await publish(bus, *range(12))
        await seen.until(lambda: len(seen.numbers) == 12)
        await drained(bus)
        assert await worker.moving() is None


async def test_an_error_nobody_foresaw_does_not_end_the_loop(
    bus: Bus, metrics: Metrics, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetch = Pull.next
    surprises = iter([ValueError("a bug of the client")])

    async def surprising(pull: Pull, most: int) -> list[Msg]:
        for surprise in surprises:
            raise surprise
        return await fetch(pull, most)

    monkeypatch.setattr(Pull, "next", surprising)
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)) as worker:
        await publish(bus, 1)
        await seen.until(lambda: seen.numbers == [1])
        assert await worker.moving() is None
    assert list(surprises) == []


async def test_a_deleted_consumer_is_found_again_without_a_busy_loop(bus: Bus, metrics: Metrics, seen: Seen) -> None:
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)) as worker:
        await bus.js.delete_consumer(subjects.COMMANDS, CONSUMER)
        sent = bus.nc.stats["out_msgs"]
        started = time.monotonic()
        async with asyncio.timeout(10):
            while await worker.moving() is None:
                await asyncio.wait([asyncio.ensure_future(bus.nc.flush())])
        assert "not bound" in (await worker.moving() or "")
        per_second = (bus.nc.stats["out_msgs"] - sent) / (time.monotonic() - started + 1)
        await topology.apply(bus.js)
        await publish(bus, 1)
        await seen.until(lambda: seen.numbers == [1])
        assert await worker.moving() is None
    assert per_second < 3000  # the stock loop sends that many pull requests alone; this bound includes our flushes


async def test_while_the_consumer_is_gone_the_loop_asks_a_few_times_a_second(
    bus: Bus, metrics: Metrics, seen: Seen
) -> None:
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)):
        await publish(bus, 1)
        await seen.until(lambda: seen.numbers == [1])
        await bus.js.delete_consumer(subjects.COMMANDS, CONSUMER)
        sent = bus.nc.stats["out_msgs"]
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=3)
        assert bus.nc.stats["out_msgs"] - sent < 60


async def test_work_goes_on_after_the_server_was_killed(
    bus: Bus, metrics: Metrics, seen: Seen, nats_server: NatsServer
) -> None:
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)) as worker:
        await publish(bus, 1)
        await seen.until(lambda: 1 in seen.numbers)
        await asyncio.to_thread(nats_server.kill)
        await asyncio.to_thread(nats_server.start)
        await _until_connected(bus)
        await publish(bus, 2)
        await seen.until(lambda: 2 in seen.numbers)
        assert await worker.moving() is None


async def test_work_goes_on_after_the_store_was_wiped(
    bus: Bus, metrics: Metrics, seen: Seen, nats_server: NatsServer
) -> None:
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)):
        before = await topology.apply(bus.js)
        await asyncio.to_thread(nats_server.kill)
        shutil.rmtree(nats_server.store)
        await asyncio.to_thread(nats_server.start)
        await _until_connected(bus)
        after = await topology.apply(bus.js)
        assert after.created[subjects.COMMANDS] > before.created[subjects.COMMANDS]
        await publish(bus, 7)
        await seen.until(lambda: seen.numbers == [7])


async def test_a_server_that_dies_while_a_consumer_binds_costs_no_redelivery(
    bus: Bus, metrics: Metrics, seen: Seen, nats_server: NatsServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client then buffers the subscription and the first request: their answer must not go to a dead inbox."""
    bind = Pull.open
    bound = asyncio.Event()

    async def disconnected() -> bool:
        return not bus.connected

    async def bind_too_late(*args: Any) -> Pull:
        if not bound.is_set():
            await asyncio.to_thread(nats_server.kill)
            await until(disconnected, every=0.01)
            bound.set()
        return await bind(*args)

    monkeypatch.setattr(Pull, "open", bind_too_late)
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)) as worker:
        await bound.wait()
        await until(worker.moving)
        await asyncio.to_thread(nats_server.start)
        await _until_connected(bus)
        await publish(bus, 1)
        await seen.until(lambda: seen.numbers == [1])  # within 20 s; a redelivery would come after 30


async def test_the_event_loop_lives_while_the_server_is_away(
    bus: Bus, metrics: Metrics, seen: Seen, nats_server: NatsServer
) -> None:
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)) as worker:
        await asyncio.to_thread(nats_server.kill)
        turns = 0
        deadline = time.monotonic() + 3
        while time.monotonic() < deadline:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(0.05):
                    await asyncio.Event().wait()
            turns += 1
        assert turns > 30
        assert await worker.moving() is not None
        await asyncio.to_thread(nats_server.start)
        await _until_connected(bus)
        await publish(bus, 1)
        await seen.until(lambda: seen.numbers == [1])


async def test_a_slow_message_does_not_hold_up_fast_ones(bus: Bus, metrics: Metrics, seen: Seen) -> None:
    release = asyncio.Event()

    async def handle(job: Job) -> None:
        if job.number == 0:
            await release.wait()
        await seen.add(job.number)

    async with working(bus, metrics, seen, handle, slots=2):
        await publish(bus, *range(9))
        await seen.until(lambda: len(seen.numbers) == 8)
        assert 0 not in seen.numbers
        release.set()
        await seen.until(lambda: 0 in seen.numbers)


async def test_no_more_messages_are_held_than_there_are_slots(bus: Bus, metrics: Metrics, seen: Seen) -> None:
    release = asyncio.Event()
    running = 0
    most = 0

    async def handle(job: Job) -> None:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await seen.add(job.number)
        await release.wait()
        running -= 1

    async with working(bus, metrics, seen, handle, slots=2):
        await publish(bus, *range(6))
        await seen.until(lambda: len(seen.numbers) == 2)

        async def the_rest_waits() -> bool:  # the server counts what it stored a moment after the publish's answer
            info = await bus.js.consumer_info(subjects.COMMANDS, CONSUMER)
            return (info.num_ack_pending, info.num_pending) == (2, 4)

        await until(the_rest_waits)
        release.set()
        await seen.until(lambda: len(seen.numbers) == 6)
    assert most == 2


async def test_a_long_message_is_kept_by_its_beat(
    bus: Bus, metrics: Metrics, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = replace(topology.consumer(CONSUMER), ack_wait=1)
    monkeypatch.setattr(worker_module, "consumer", lambda _: spec)
    await bus.js.add_consumer(subjects.COMMANDS, spec.config())
    started: list[float] = []

    async def handle(job: Job) -> None:
        started.append(time.monotonic())
        await asyncio.wait([asyncio.ensure_future(asyncio.Event().wait())], timeout=2.5)
        await seen.add(job.number)

    async with working(bus, metrics, seen, handle):
        await publish(bus, 1)
        await seen.until(lambda: seen.numbers == [1])
        await drained(bus)
    assert len(started) == 1


async def test_a_shutdown_gives_back_what_it_could_not_finish(bus: Bus, metrics: Metrics, seen: Seen) -> None:
    async def handle(job: Job) -> None:
        await seen.add(job.number)
        await asyncio.Event().wait()

    async with working(bus, metrics, seen, handle, slots=2) as worker:
        worker.loops[0]._grace = 0.1
        await publish(bus, *range(5))
        await seen.until(lambda: len(seen.numbers) == 2)
    info = await bus.js.consumer_info(subjects.COMMANDS, CONSUMER)
    assert info.num_redelivered == 0
    # Given back at once: the next worker gets all five long before the 30 s of the ack wait are over.
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)):
        await seen.until(lambda: set(seen.numbers[2:]) == set(range(5)), within=5)


async def test_a_shutdown_does_not_wait_for_slots_that_never_become_free(
    bus: Bus, metrics: Metrics, seen: Seen, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def handle(job: Job) -> None:
        await seen.add(job.number)
        await asyncio.Event().wait()

    async with asyncio.timeout(15), working(bus, metrics, seen, handle, slots=1) as worker:
        worker.loops[0]._grace = 0.1
        await publish(bus, 1)
        await seen.until(lambda: seen.numbers == [1])
        monkeypatch.setattr(Pull, "under_way", True)  # as where the client hands out more than was asked for


async def test_a_nak_brings_the_message_back_after_its_delay(bus: Bus, metrics: Metrics, seen: Seen) -> None:
    times: list[float] = []

    async def handle(job: Job) -> None:
        times.append(time.monotonic())
        await seen.add(job.number)
        if len(times) == 1:
            raise Settled(Nak(timedelta(seconds=0.6)))

    async with working(bus, metrics, seen, handle):
        await publish(bus, 1)
        await seen.until(lambda: len(seen.numbers) == 2)
    assert 0.5 < times[1] - times[0] < 3


async def test_an_unforeseen_exception_keeps_the_message(bus: Bus, metrics: Metrics, seen: Seen) -> None:
    async def handle(job: Job) -> None:
        await seen.add(job.number)
        if len(seen.numbers) == 1:
            message = "boom"
            raise RuntimeError(message)

    async with working(bus, metrics, seen, handle):
        await publish(bus, 1)
        await seen.until(lambda: seen.numbers == [1, 1])
        await drained(bus)


async def test_of_messages_that_failed_together_those_that_are_done_do_not_come_again(
    bus: Bus, metrics: Metrics, seen: Seen
) -> None:
    together: list[int] = []

    async def work(deliveries: Sequence[Delivery]) -> None:
        if not together and len(deliveries) < 3:
            for delivery in deliveries:
                delivery.settle(Nak(timedelta(milliseconds=50)))  # until they come together
            return
        together.append(len(deliveries))
        for number, delivery in enumerate(deliveries):
            await seen.add(Job.model_validate_json(delivery.raw.data).number)
            if number == 0:
                delivery.settle(Ack())
                delivery.settle(Nak(timedelta(0)))  # what is settled stays so
        if len(together) == 1:
            message = "the others are not done"
            raise RuntimeError(message)
        for delivery in deliveries:
            delivery.settle(Ack())

    await publish(bus, 1, 2, 3)
    worker = Worker(bus, Declared(), metrics, seen.poison)
    worker.add(topology.consumer(CONSUMER), work, slots=3)
    await worker.start()
    await drained(bus)
    await worker.stop()
    assert (together[0], sorted(seen.numbers)) == (3, [1, 2, 2, 3, 3])


@pytest.mark.parametrize("body", [b"no json", b'{"number": "x"}', b"\xff\xfe", b"[]"])
async def test_a_message_that_fits_no_type_is_recorded_and_acked(
    bus: Bus, metrics: Metrics, seen: Seen, body: bytes
) -> None:
    async with working(bus, metrics, seen, lambda job: seen.add(job.number)):
        await bus.js.publish(SUBJECT, body, stream=subjects.COMMANDS)
        await seen.until(lambda: len(seen.poisoned) == 1)
        await drained(bus)
        await publish(bus, 3)
        await seen.until(lambda: seen.numbers == [3])
    assert len(seen.poisoned) == 1


async def _until_connected(bus: Bus, *, within: float = 20) -> None:
    async with asyncio.timeout(within):
        while True:
            with contextlib.suppress(Exception):
                await bus.nc.flush(timeout=1)
                return
