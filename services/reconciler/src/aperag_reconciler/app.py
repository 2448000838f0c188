"""The reconciler's composition root."""

from __future__ import annotations

import asyncio
import contextlib
from functools import partial

from nats.errors import Error as NatsError

from aperag_common import subjects
from aperag_common.bus.worker import Worker
from aperag_common.db.models import Lane
from aperag_common.events.ticks import Tick, TimerName
from aperag_common.http.server import HealthServer
from aperag_common.jobs.declared import COLLECTION_PURGE, USER_PURGE
from aperag_common.jobs.kind import Wanted
from aperag_common.objects import LocalObjectStore
from aperag_common.process import until_stopped
from aperag_common.tasks import end_tasks
from aperag_reconciler.advisories.handlers import Advisories
from aperag_reconciler.advisories.message import Advisory
from aperag_reconciler.backlog.observe import Backlog
from aperag_reconciler.evaluations.reconcile import Evaluations
from aperag_reconciler.gc.collect import Collect
from aperag_reconciler.purge.purge import Purge
from aperag_reconciler.settings import Settings
from aperag_reconciler.summaries.emit import Summaries
from aperag_reconciler.switches.reconcile import Switches
from aperag_reconciler.timers.runner import Timer, TimerRunner
from aperag_reconciler.topology.keeper import TopologyKeeper
from aperag_reconciler.users.purge import UserPurge
from aperag_reconciler.waking.waker import Waker
from aperag_work.engine import Engine
from aperag_work.heartbeat import present
from aperag_work.opening import Admission
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive
from aperag_work.release import FairRelease
from aperag_work.runtime import Runtime, open_runtime
from aperag_work.sweep import OutboxSweep

SERVICE = "reconciler"
ADVISORY_SLOTS = 2
TICK_SLOTS = len(TimerName)
"""No timer waits for another one's long run."""


def make_timers(runtime: Runtime, settings: Settings, redrive: Redrive, release: FairRelease) -> dict[str, Timer]:
    first_due = settings.work.first_due
    sweep = OutboxSweep(runtime.database, runtime.dispatcher)
    collect = Collect(runtime.engine, LocalObjectStore(settings.objects.directory), settings.retention)
    summaries = Summaries(runtime.engine, runtime.dispatcher, first_due, settings.summaries)
    evaluations = Evaluations(runtime.engine, runtime.metrics, settings.evaluations.stuck_after)
    admission = Admission(Lane.BULK, settings.work.in_flight_per_owner, first_due)
    switches = Switches(runtime.engine, runtime.dispatcher, admission, settings.switches.grace)

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


def make_engine(runtime: Runtime, settings: Settings) -> Engine:
    """The jobs that this service works on itself."""
    objects = LocalObjectStore(settings.objects.directory)
    engine = runtime.job_engine(settings)
    purge = Purge(objects)
    users = UserPurge(objects, settings.work.first_due, SERVICE)
    engine.handle(COLLECTION_PURGE, purge.run, wanted=Wanted.ABSENT, write=purge.write)
    engine.handle(USER_PURGE, users.run, wanted=Wanted.ABSENT)
    return engine


def make_worker(runtime: Runtime, engine: Engine, timer_runner: TimerRunner) -> Worker:
    advisories = Advisories(runtime.database, runtime.bus, runtime.metrics)
    worker = runtime.worker(engine)
    worker.subscribe("reconciler-advisory", Advisory, advisories.keep, slots=ADVISORY_SLOTS)
    worker.subscribe("reconciler-tick", Tick, timer_runner.run, slots=TICK_SLOTS)
    return worker


async def on_change(redrive: Redrive, release: FairRelease) -> None:
    """A job has ended, or a process has died: what is due, and what has a place now."""
    await redrive.run_due()
    await release.run()


async def serve(settings: Settings) -> None:
    """Runs until SIGTERM."""
    async with open_runtime(settings, service=SERVICE) as runtime, asyncio.TaskGroup() as background:
        policy = WorkPolicy.of(settings.work)
        redrive = Redrive(runtime.database, runtime.dispatcher, policy)
        release = FairRelease(runtime.database, runtime.dispatcher, policy, settings.work.in_flight_per_owner)
        timers = make_timers(runtime, settings, redrive, release)
        timer_runner = TimerRunner(
            runtime.engine, runtime.dispatcher.publisher, runtime.metrics, timers, instance=runtime.instance
        )
        engine = make_engine(runtime, settings)
        worker = make_worker(runtime, engine, timer_runner)
        period = settings.timers.topology.total_seconds()
        keeper = TopologyKeeper(runtime.bus, runtime.engine, runtime.dispatcher, redrive, period=period)
        waker = Waker(partial(on_change, redrive, release))

        runtime.health.add("topology", keeper.problem)
        runtime.health.add("streams", keeper.difference, critical=False)
        runtime.health.add("consumers", worker.moving)
        server = HealthServer(settings.http, runtime.health, runtime.metrics)
        await server.start()
        # A queue group: one of the replicas answers a wake.
        woken = await runtime.bus.nc.subscribe(subjects.wake(SERVICE), queue=SERVICE, cb=waker.on_wake)
        tasks = [background.create_task(keeper.run()), background.create_task(waker.run())]
        await keeper.applied.wait()
        await engine.start(predecessor=settings.predecessor)
        await worker.start()
        backlog = Backlog(runtime.bus, runtime.engine, runtime.metrics)
        tasks.append(background.create_task(backlog.run(settings.timers.reconcile_indexes.total_seconds())))
        tasks += [background.create_task(timer_runner.publish(timer)) for timer in timers.values()]
        async with present(runtime.engine, SERVICE, runtime.instance, worker.loads):
            await until_stopped()
        await end_tasks(*tasks)
        with contextlib.suppress(NatsError):
            await woken.unsubscribe()
        await worker.stop()
        await engine.stop()
        await server.stop()
