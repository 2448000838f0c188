"""Timers: what each run leaves to be seen, and that a killed holder does not stop them for long."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common.bus import topology
from aperag_common.bus.declared import declared_for
from aperag_common.bus.delivery import Ack, Settled
from aperag_common.bus.worker import Worker
from aperag_common.events.ticks import Tick, TimerName
from aperag_common.services import Service
from aperag_reconciler.backlog.observe import Backlog
from aperag_reconciler.timers.runner import Timer, TimerRunner
from aperag_testing.steps import Gate
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_work.dispatcher import Dispatcher

NAME = TimerName.OUTBOX
SLACK = 20.0
"""Of a loaded machine, far below the 30 s that a tick was once held for beyond it."""


async def nothing() -> None:
    """A job that finds nothing to do."""


@pytest.fixture
def timer_runner(engine: AsyncEngine, dispatcher: Dispatcher, metrics: Metrics) -> Callable[..., TimerRunner]:
    def make(job: Callable[[], Awaitable[Any]] = nothing, *, instance: str = "reconciler") -> TimerRunner:
        timers: dict[str, Timer] = {NAME: Timer(NAME, timedelta(seconds=5), job)}
        return TimerRunner(engine, dispatcher.publisher, metrics, timers, instance=instance)

    return make


def tick(*, late: float = 0.0) -> Tick:
    return Tick(timer=NAME, time=datetime.now(UTC) - timedelta(seconds=late))


async def row(engine: AsyncEngine) -> Any:
    async with engine.connect() as conn:
        return (await conn.execute(text("SELECT * FROM timer"))).one_or_none()


async def test_a_run_says_when_where_and_how_it_ended(engine: AsyncEngine, timer_runner: Any, metrics: Metrics) -> None:
    await timer_runner().run(tick(late=7))
    told = await row(engine)
    assert (told.name, told.period_seconds, told.worker, told.outcome) == (NAME, 5.0, "reconciler", "ok")
    assert (told.runs, told.failures, told.error_message) == (1, 0, None)
    assert told.lateness_seconds >= 7
    assert told.started_at <= told.finished_at <= told.succeeded_at
    assert metrics.timer_runs.labels(NAME, "ok")._value.get() == 1


async def test_while_it_runs_it_is_seen_running(engine: AsyncEngine, timer_runner: Any) -> None:
    await timer_runner().run(tick())
    gate = Gate()
    running = asyncio.create_task(timer_runner(gate, instance="second").run(tick()))
    await gate.until_reached()
    told = await row(engine)
    assert (told.started_at > told.finished_at, told.worker, told.runs) == (True, "second", 1)
    gate.open()
    await running
    assert (await row(engine)).runs == 2


@pytest.mark.parametrize("error", [OSError("the disk\x00 is away"), RuntimeError("unforeseen")], ids=repr)
async def test_a_failure_is_told_acked_and_does_not_touch_the_last_success(
    engine: AsyncEngine, timer_runner: Any, metrics: Metrics, error: Exception
) -> None:
    async def fail() -> None:
        raise error

    await timer_runner().run(tick())
    good = await row(engine)
    with pytest.raises(Settled) as settled:
        await timer_runner(fail).run(tick())
    assert settled.value.settlement == Ack(outcome="failed")
    told = await row(engine)
    assert (told.outcome, told.runs, told.failures) == ("failed", 2, 1)
    assert type(error).__name__ in told.error_message
    assert told.succeeded_at == good.succeeded_at
    await timer_runner().run(tick())
    assert ((await row(engine)).outcome, (await row(engine)).error_message) == ("ok", None)
    assert metrics.timer_runs.labels(NAME, "failed")._value.get() == 1


async def test_every_reconciler_tells_how_long_ago_a_timer_went_well(
    engine: AsyncEngine, bus: Bus, timer_runner: Any, metrics: Metrics
) -> None:
    await timer_runner(instance="another").run(tick())
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE timer SET succeeded_at = succeeded_at - interval '1 hour'"))
    await Backlog(bus, engine, metrics).measure()
    assert metrics.timer_success_age.labels(NAME)._value.get() >= 3600


async def test_an_unknown_tick_is_let_go(engine: AsyncEngine, timer_runner: Any) -> None:
    await timer_runner().run(Tick(timer="from-a-newer-version", time=datetime.now(UTC)))
    assert await row(engine) is None


async def test_of_two_clockworks_one_runs_each_tick(
    bus: Bus, dispatcher: Dispatcher, timer_runner: Any, engine: AsyncEngine, metrics: Metrics
) -> None:
    held, begun = Gate(), 0

    async def job() -> None:
        nonlocal begun
        begun += 1
        await held()

    first, second = (working(bus, metrics, timer_runner(job, instance=f"r{n}")) for n in range(2))
    async with first, second:
        assert await dispatcher.publisher.tick(NAME)
        await held.until_reached()
        # It is under way, so what both publish meanwhile is dropped.
        assert not any(await asyncio.gather(*(dispatcher.publisher.tick(NAME) for _ in range(4))))
        held.open()

        async def ended() -> bool:
            return bool(
                (await row(engine)).runs == 1 and (await bus.js.stream_info("APERAG_TICKS")).state.messages == 0
            )

        await until(ended)
    assert begun == 1


@asynccontextmanager
async def working(bus: Bus, metrics: Metrics, works: TimerRunner) -> AsyncIterator[Worker]:
    """A reconciler's consume loop; stopped with the block, however that ends."""

    async def poison(*_: object) -> None:
        pytest.fail("a tick is no poison")

    made = Worker(bus, declared_for(Service.RECONCILER), metrics, poison)
    made.subscribe("reconciler-tick", Tick, works.run, slots=2)
    await made.start()
    try:
        yield made
    finally:
        await made.stop()


async def test_a_killed_holder_delays_the_next_run_by_the_ticks_ack_wait_at_most(
    bus: Bus, dispatcher: Dispatcher, timer_runner: Any, engine: AsyncEngine, metrics: Metrics
) -> None:
    spec = topology.consumer("reconciler-tick")
    assert spec.ack_wait <= 10
    subscription = await bus.js.pull_subscribe_bind(spec.name, spec.stream)
    assert await dispatcher.publisher.tick(NAME)
    [held] = await subscription.fetch(1, timeout=30)  # and is killed: it neither beats nor settles
    begun = time.monotonic()
    assert not await dispatcher.publisher.tick(NAME)

    async def ran() -> bool:
        told = await row(engine)
        return told is not None and told.runs == 1

    async with working(bus, metrics, timer_runner(instance="survivor")):
        await until(ran, within=spec.ack_wait + SLACK)
    assert time.monotonic() - begun >= spec.ack_wait - 1  # it was held until then, so the test tells of the wait
    assert held.metadata.num_delivered == 1
    await subscription.unsubscribe()


async def test_a_job_longer_than_the_ticks_ack_wait_is_not_begun_again(
    bus: Bus, dispatcher: Dispatcher, timer_runner: Any, metrics: Metrics
) -> None:
    gate = Gate()
    begun = 0

    async def long() -> None:
        nonlocal begun
        begun += 1
        await gate()

    async with working(bus, metrics, timer_runner(long)):
        await dispatcher.publisher.tick(NAME)
        await gate.until_reached()
        started = time.monotonic()

        async def outlasted() -> bool:
            return time.monotonic() - started > topology.TICK_ACK_WAIT * 1.5

        try:
            await until(outlasted)
            assert (await bus.js.stream_info("APERAG_TICKS")).state.messages == 1
            assert begun == 1
            assert metrics.redeliveries.labels("reconciler-tick")._value.get() == 0
        finally:
            gate.open()


async def test_a_consumers_ack_wait_is_changed_in_place(bus: Bus) -> None:
    spec = topology.consumer("reconciler-tick")
    older = spec.config()
    older.ack_wait = 30.0
    await bus.js.add_consumer(spec.stream, older)
    assert (await bus.js.consumer_info(spec.stream, spec.name)).config.ack_wait == 30.0
    await topology.apply(bus.js)
    assert (await bus.js.consumer_info(spec.stream, spec.name)).config.ack_wait == spec.ack_wait
