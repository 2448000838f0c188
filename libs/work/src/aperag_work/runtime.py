"""What every service process is made of: telemetry, databases, bus, dispatcher, health; opened and closed in order."""

from __future__ import annotations

import asyncio
import contextlib
from contextlib import asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text

from aperag_common import logs
from aperag_common.bus import connection
from aperag_common.bus.declared import Declared, declared_for
from aperag_common.bus.worker import Worker
from aperag_common.db.session import make_engine
from aperag_common.health import Health
from aperag_common.http.server import HealthServer
from aperag_common.metrics import Metrics
from aperag_common.process import instance_of, until_stopped
from aperag_common.services import Service
from aperag_common.telemetry import Telemetry, init_sqlalchemy_instrumentation
from aperag_work import leases
from aperag_work.database import FAILURES, Database
from aperag_work.dispatcher import Dispatcher
from aperag_work.engine import Engine
from aperag_work.failures import record_poison
from aperag_work.heartbeat import present
from aperag_work.policy import WorkPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.settings import ServiceSettings

log = structlog.get_logger(__name__)

CONNECT_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Runtime:
    """Shared by everything in one process; owned by ``open_runtime``."""

    service: str
    instance: str
    engine: AsyncEngine
    database: Database
    bus: Bus
    declared: Declared
    dispatcher: Dispatcher
    metrics: Metrics
    health: Health
    telemetry: Telemetry

    def job_engine(self, settings: ServiceSettings) -> Engine:
        """For a service that works on jobs; its handlers are still to be added."""
        return Engine(
            self.database,
            self.dispatcher,
            WorkPolicy.of(settings.work),
            self.metrics,
            self.instance,
            source=self.service,
            incarnation=settings.incarnation,
        )

    async def work_until_stopped(self, settings: ServiceSettings, engine: Engine, worker: Worker) -> None:
        """Stopped by SIGTERM, it finishes or gives back what is at work."""
        self.health.add("consumers", worker.moving)
        server = HealthServer(settings.http, self.health, self.metrics)
        await server.start()
        await engine.start(predecessor=settings.predecessor)
        await worker.start()
        async with present(self.engine, self.service, self.instance, worker.loads):
            await until_stopped()
        await worker.stop()
        await engine.stop()
        await server.stop()

    def worker(self, engine: Engine) -> Worker:
        """The loops that bring the engine its jobs."""
        worker = Worker(self.bus, self.declared, self.metrics, partial(record_poison, self.database, self.metrics))
        engine.subscribe(worker)
        return worker


@asynccontextmanager
async def open_runtime(settings: ServiceSettings, *, service: str) -> AsyncIterator[Runtime]:
    """Waits for NATS and for a migrated PostgreSQL; a supervisor restarts the process when that takes too long."""
    instance = instance_of(settings)
    logs.configure(settings.telemetry.log_level, json=settings.telemetry.log_json, service=service)
    telemetry = Telemetry.start(settings, service=service, instance=instance)
    metrics = Metrics(service)
    metrics.spans_dropped.set_function(lambda: telemetry.dropped)
    health = Health()
    engine = make_engine(settings.postgres, name=f"aperag-{service}")
    traced = settings.otel_enabled and settings.otel_sqlalchemy_enabled
    init_sqlalchemy_instrumentation(engine if traced else None, tracer_provider=telemetry.provider)
    async with contextlib.AsyncExitStack() as stack:
        stack.push_async_callback(engine.dispose)
        database = Database(settings.postgres, name=f"aperag-{service}-jobs")
        stack.push_async_callback(database.close)
        bus = await asyncio.wait_for(
            connection.connect(settings.nats, service=service, instance=instance, metrics=metrics), CONNECT_SECONDS
        )
        stack.push_async_callback(bus.close)
        stack.push_async_callback(telemetry.stop)
        telemetry.attach_bus(bus.nc)
        declared = declared_for(Service(service))
        dispatcher = Dispatcher(bus, database, metrics, declared)
        stack.push_async_callback(dispatcher.close)

        async def nats_answers() -> str | None:
            return None if bus.connected else "not connected"

        async def postgres_answers() -> None:
            async with engine.connect() as conn:
                await conn.execute(text("SELECT 1 FROM stream_epoch LIMIT 1"))

        health.add("nats", nats_answers)
        health.add("postgres", postgres_answers)
        if settings.predecessor:
            await _repeat_last(database, dispatcher)
        log.info("service.opened", instance=instance)
        yield Runtime(service, instance, engine, database, bus, declared, dispatcher, metrics, health, telemetry)


async def _repeat_last(database: Database, dispatcher: Dispatcher) -> None:
    """In the place of a dead process: whatever of its last commits was not published is published now."""
    try:
        async with database.durable.acquire() as conn:
            jobs = await leases.repeat_last(conn)
    except FAILURES as err:
        log.warning("jobs.not_repeated", error=repr(err))  # they are due in a minute
        return
    if jobs:
        log.info("jobs.repeated", jobs=jobs)
        dispatcher.wake()
