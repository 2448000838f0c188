"""Our side: the gateway's transaction and dispatcher, without HTTP in front; the stack's services do the rest."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.bus.connection import connect
from aperag_common.bus.declared import declared_for
from aperag_common.db.models.base import Lane
from aperag_common.jobs.declared import BUILT
from aperag_common.metrics import Metrics
from aperag_common.services import Service
from aperag_common.settings import NatsSettings, PostgresSettings, WorkSettings
from aperag_standalone.home import Home
from aperag_standalone.ports import LOOPBACK
from aperag_work import changes
from aperag_work.database import Database
from aperag_work.dispatcher import Dispatcher
from aperag_work.scheduler import JobScheduler, ScheduleContext

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.stack import Stack
    from aperag_work.accepting import NewDocument
    from aperag_work.scheduler import TaskScheduler


@dataclass(frozen=True, slots=True)
class OurSide:
    """Publishes with the gateway's identity."""

    engine: AsyncEngine
    dispatcher: Dispatcher
    scheduler: TaskScheduler

    async def accept(self, document: NewDocument) -> None:
        async with self.engine.begin() as conn:
            context = ScheduleContext(conn, Lane.BULK, new={document.id: document})
            await changes.share_collection(conn, document.collection_id, document.owner)
            await self.scheduler.schedule_create_index(document.id, BUILT, context)
        self.dispatcher.deliver(*context.changes.values())


@asynccontextmanager
async def our_side(stack: Stack, engine: AsyncEngine, nats_port: int) -> AsyncIterator[OurSide]:
    """Its connections are closed at the end."""
    seed = Home(stack.home).secrets / f"{Service.API}.nk"
    metrics = Metrics("bench")
    settings = NatsSettings(url=f"nats://{LOOPBACK}:{nats_port}", seed_file=seed)
    bus = await connect(settings, service=Service.API, instance="bench", metrics=metrics)
    database = Database(PostgresSettings(url=stack.postgres_url), name="bench")
    dispatcher = Dispatcher(bus, database, metrics, declared_for(Service.API))
    try:
        yield OurSide(engine, dispatcher, JobScheduler(engine, WorkSettings()))
    finally:
        await dispatcher.close()
        await database.close()
        await bus.close()
