"""Our side: the gateway's transaction and courier, without HTTP in front; the stack's services do the rest."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.bus.connection import connect
from aperag_common.bus.topology import BUILT_KINDS, Service
from aperag_common.db.models.base import Lane
from aperag_common.metrics import Metrics
from aperag_common.settings import NatsSettings, WorkSettings
from aperag_common.work import changes
from aperag_common.work.courier import Courier
from aperag_standalone.home import Home
from aperag_standalone.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.testing.stack import Stack


@dataclass(frozen=True, slots=True)
class OurSide:
    """Publishes with the gateway's identity."""

    engine: AsyncEngine
    courier: Courier
    pace: changes.Pace

    async def accept(self, document: changes.NewDocument) -> None:
        async with self.engine.begin() as conn:
            accepted = await changes.upload(conn, [document], kinds=BUILT_KINDS, pace=self.pace)
        self.courier.deliver(*accepted)


@asynccontextmanager
async def our_side(stack: Stack, engine: AsyncEngine, nats_port: int) -> AsyncIterator[OurSide]:
    """Its connection is closed at the end."""
    work = WorkSettings()
    seed = Home(stack.home).secrets / f"{Service.API}.nk"
    metrics = Metrics("bench")
    settings = NatsSettings(url=f"nats://{LOOPBACK}:{nats_port}", seed_file=seed)
    bus = await connect(settings, service=Service.API, instance="bench", metrics=metrics)
    courier = Courier(bus, engine, metrics)
    try:
        yield OurSide(engine, courier, changes.Pace(Lane.BULK, work.in_flight_per_owner, work.first_due))
    finally:
        await courier.close()
        await bus.close()
