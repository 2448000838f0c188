"""The reconciler's composition root."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from aperag_common.bus import subjects
from aperag_common.bus.worker import Worker, make_broker
from aperag_common.db.models import Lane
from aperag_common.events.advisories import Advisory
from aperag_common.events.commands import PurgeCollection, PurgeUser
from aperag_common.events.ticks import Tick, TimerName
from aperag_common.health import HealthServer
from aperag_common.objects import LocalObjectStore
from aperag_common.process import until_stopped
from aperag_common.runtime import Runtime, open_runtime
from aperag_common.tasks import end_tasks
from aperag_common.work.driven import DrivenRows
from aperag_common.work.failures import record_poison
from aperag_common.work.opening import Pace
from aperag_common.work.policy import WorkPolicy
from aperag_common.work.presence import present
from aperag_reconciler.advisories.handlers import Advisories
from aperag_reconciler.backlog.observe import Backlog
from aperag_reconciler.evaluations.reconcile import Evaluations
from aperag_reconciler.gc.collect import Collect
from aperag_reconciler.outbox.sweep import OutboxSweep
from aperag_reconciler.purge.purge import Purge
from aperag_reconciler.redrive.redrive import Redrive
from aperag_reconciler.release.release import FairRelease, Waker
from aperag_reconciler.settings import Settings
from aperag_reconciler.summaries.emit import Summaries
from aperag_reconciler.switches.reconcile import Switches
from aperag_reconciler.timers.clockwork import Clockwork, Timer
from aperag_reconciler.topology.keeper import TopologyKeeper
from aperag_reconciler.users.purge import UserPurge

if TYPE_CHECKING:
    from nats.aio.msg import Msg

SERVICE = "reconciler"
ADVISORY_SLOTS = 2
PURGE_SLOTS = 2
USER_PURGE_SLOTS = 1
TICK_SLOTS = len(TimerName)
"""No timer waits for another one's long run."""


def make_timers(runtime: Runtime, settings: Settings, release: FairRelease) -> dict[str, Timer]:
    policy = WorkPolicy.of(settings.work)
    redrive = Redrive(runtime.engine, runtime.courier, policy)
    sweep = OutboxSweep(runtime.engine, runtime.courier)
    collect = Collect(runtime.engine, LocalObjectStore(settings.objects.directory), settings.retention)
    summaries = Summaries(runtime.engine, runtime.courier, policy.first_due, settings.summaries)
    evaluations = Evaluations(runtime.engine, runtime.metrics, settings.evaluations.stuck_after)
    pace = Pace(Lane.BULK, settings.work.in_flight_per_owner, policy.first_due)
    switches = Switches(runtime.engine, runtime.courier, pace, settings.switches.grace)

    async def reconcile_indexes() -> None:
        await redrive.run()
        await release.run()

    periods = settings.timers
    timers = (
        Timer(TimerName.RECONCILE_INDEXES, periods.reconcile_indexes, reconcile_indexes),
        Timer(TimerName.OUTBOX, periods.outbox, sweep.run),
        Timer(TimerName.RECONCILE_COLLECTION_SUMMARIES, periods.reconcile_collection_summaries, summaries.run),
        Timer(TimerName.COLLECTION_GC, periods.collection_gc, collect.run),
        Timer(TimerName.RECONCILE_EVALUATIONS, periods.reconcile_evaluations, evaluations.run),
        Timer(TimerName.RECONCILE_MODEL_SWITCHES, periods.reconcile_model_switches, switches.run),
    )
    return {timer.name: timer for timer in timers}


def make_worker(runtime: Runtime, settings: Settings, clockwork: Clockwork) -> Worker:
    policy = WorkPolicy.of(settings.work)
    rows = DrivenRows(runtime.engine, runtime.courier, policy, runtime.metrics, runtime.instance, source=SERVICE)
    purge = Purge(rows, LocalObjectStore(settings.objects.directory))
    users = UserPurge(rows, LocalObjectStore(settings.objects.directory), policy.first_due)
    advisories = Advisories(runtime.engine, runtime.bus, runtime.metrics)

    async def keep_advisory(advisory: Advisory) -> None:
        await advisories.keep(advisory)

    async def purge_collection(command: PurgeCollection) -> None:
        await purge.handle(command)

    async def purge_user(command: PurgeUser) -> None:
        await users.handle(command)

    async def run_timer(tick: Tick) -> None:
        await clockwork.run(tick)

    poison = partial(record_poison, runtime.engine, runtime.metrics)
    beat = policy.beat.total_seconds()
    worker = Worker(make_broker(settings.nats.url), runtime.bus, runtime.metrics, poison, beat=beat)
    worker.subscribe("reconciler-advisory", keep_advisory, slots=ADVISORY_SLOTS)
    worker.subscribe("reconciler-purge", purge_collection, slots=PURGE_SLOTS)
    worker.subscribe("reconciler-user-purge", purge_user, slots=USER_PURGE_SLOTS)
    worker.subscribe("reconciler-tick", run_timer, slots=TICK_SLOTS)
    return worker


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM."""
    async with open_runtime(settings, service=SERVICE) as runtime, asyncio.TaskGroup() as background:
        release = FairRelease(
            runtime.engine, runtime.courier, WorkPolicy.of(settings.work), settings.work.in_flight_per_owner
        )
        timers = make_timers(runtime, settings, release)
        clockwork = Clockwork(
            runtime.engine, runtime.courier.publisher, runtime.metrics, timers, instance=runtime.instance
        )
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
        backlog = Backlog(runtime.bus, runtime.engine, runtime.metrics)
        tasks.append(background.create_task(backlog.run(settings.timers.reconcile_indexes.total_seconds())))
        tasks += [background.create_task(clockwork.publish(timer)) for timer in timers.values()]
        async with present(runtime.engine, SERVICE, runtime.instance, worker.loads):
            await until_stopped()
        await end_tasks(*tasks)
        with contextlib.suppress(NatsError):
            await woken.unsubscribe()
        await worker.stop()
        await server.stop()
