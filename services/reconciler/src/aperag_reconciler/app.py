"""The reconciler's composition root."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from aperag_common.bus import subjects
from aperag_common.bus.worker import Worker, make_broker
from aperag_common.events.commands import PurgeCollection
from aperag_common.events.ticks import Tick
from aperag_common.health import HealthServer
from aperag_common.objects import LocalObjectStore
from aperag_common.runtime import Runtime, open_runtime, until_stopped
from aperag_common.work.failures import record_poison
from aperag_common.work.policy import WorkPolicy
from aperag_reconciler.backlog.observe import Backlog
from aperag_reconciler.gc.collect import Collect
from aperag_reconciler.outbox.sweep import OutboxSweep
from aperag_reconciler.purge.purge import Purge
from aperag_reconciler.redrive.redrive import Redrive
from aperag_reconciler.release.release import FairRelease, Waker
from aperag_reconciler.settings import Settings
from aperag_reconciler.timers.clockwork import Clockwork, Timer
from aperag_reconciler.topology.keeper import TopologyKeeper

if TYPE_CHECKING:
    from nats.aio.msg import Msg

SERVICE = "reconciler"
PURGE_SLOTS = 2
TICK_SLOTS = 4


def make_timers(runtime: Runtime, settings: Settings, release: FairRelease) -> dict[str, Timer]:
    policy = WorkPolicy.of(settings.work)
    redrive = Redrive(runtime.engine, runtime.courier, policy)
    sweep = OutboxSweep(runtime.engine, runtime.courier)
    collect = Collect(runtime.engine, LocalObjectStore(settings.objects.directory), settings.retention)

    backlog = Backlog(runtime.bus, runtime.engine, runtime.metrics)

    async def reconcile_indexes() -> None:
        await redrive.run()
        await release.run()
        await backlog.measure()

    periods = settings.timers
    timers = (
        Timer("reconcile-indexes", periods.reconcile_indexes, reconcile_indexes),
        Timer("outbox", periods.outbox, sweep.run),
        Timer("collection-gc", periods.collection_gc, collect.run),
    )
    return {timer.name: timer for timer in timers}


def make_worker(runtime: Runtime, settings: Settings, clockwork: Clockwork) -> Worker:
    purge = Purge(
        runtime.engine, LocalObjectStore(settings.objects.directory), WorkPolicy.of(settings.work), runtime.instance
    )

    async def purge_collection(command: PurgeCollection) -> None:
        await purge.run(command)

    async def run_timer(tick: Tick) -> None:
        await clockwork.run(tick)

    poison = partial(record_poison, runtime.engine, runtime.metrics)
    worker = Worker(make_broker(settings.nats.url), runtime.bus, runtime.metrics, poison)
    worker.subscribe("reconciler-purge", purge_collection, slots=PURGE_SLOTS)
    worker.subscribe("reconciler-tick", run_timer, slots=TICK_SLOTS)
    return worker


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM."""
    async with open_runtime(settings, service=SERVICE) as runtime, asyncio.TaskGroup() as background:
        release = FairRelease(
            runtime.engine, runtime.courier, WorkPolicy.of(settings.work), settings.work.in_flight_per_owner
        )
        timers = make_timers(runtime, settings, release)
        clockwork = Clockwork(runtime.courier.publisher, runtime.metrics, timers)
        worker = make_worker(runtime, settings, clockwork)
        period = settings.timers.topology.total_seconds()
        keeper = TopologyKeeper(runtime.bus, runtime.engine, runtime.courier, period=period)
        waker = Waker(release)

        async def on_wake(_: Msg) -> None:
            waker.wake()

        runtime.health.add("topology", keeper.problem)
        runtime.health.add("consumers", worker.moving)
        server = HealthServer(settings.http, runtime.health, runtime.metrics)
        await server.start()
        # A queue group: one of the replicas answers a wake.
        woken = await runtime.bus.nc.subscribe(subjects.wake(SERVICE), queue=SERVICE, cb=on_wake)
        tasks = [background.create_task(keeper.run()), background.create_task(waker.run())]
        await keeper.applied.wait()
        await worker.start()
        tasks += [background.create_task(clockwork.publish(timer)) for timer in timers.values()]
        await until_stopped()
        for task in tasks:
            task.cancel()
        with contextlib.suppress(NatsError):
            await woken.unsubscribe()
        await worker.stop()
        await server.stop()
