"""The row by which each process says that it is alive, since when, and how busy it is."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import asdict
from typing import TYPE_CHECKING

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common.db.session import autocommit
from aperag_common.tasks import end_tasks, repeat
from aperag_common.version import VERSION

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.worker import ConsumerLoad

log = structlog.get_logger(__name__)

EVERY_SECONDS = 10.0
SEEN_SECONDS = 30.0
"""A process that was not seen for longer counts as gone: three beats."""
LEAVE_SECONDS = 2.0

# The first beat begins anew what a killed process of the same name left; the clock is the database's.
_BEAT = text(
    """
    INSERT INTO service_instance (service, instance, version, started, seen, consumers)
    VALUES (:service, :instance, :version, coalesce(CAST(:started AS timestamptz), clock_timestamp()),
        clock_timestamp(), CAST(:consumers AS jsonb))
    ON CONFLICT (service, instance) DO UPDATE SET version = excluded.version, started = excluded.started,
        seen = excluded.seen, consumers = excluded.consumers
    RETURNING started
    """
)

# Not where a process of the same name has taken its place.
_LEAVE = text("DELETE FROM service_instance WHERE service = :service AND instance = :instance AND started = :started")


class Heartbeat:
    """One process's row; a beat that fails is missed and nothing else."""

    def __init__(
        self, engine: AsyncEngine, service: str, instance: str, consumers: Callable[[], Sequence[ConsumerLoad]]
    ) -> None:
        self._engine = engine
        self._name = {"service": service, "instance": instance}
        self._consumers = consumers
        self._started: datetime | None = None

    async def beat(self) -> None:
        loads = json.dumps([asdict(load) for load in self._consumers()])
        values = {**self._name, "version": VERSION, "started": self._started, "consumers": loads}
        try:
            async with autocommit(self._engine) as conn:
                self._started = (await conn.execute(_BEAT, values)).scalar_one()
        except (SQLAlchemyError, OSError) as err:
            log.warning("instance.heartbeat_failed", error=repr(err))

    async def leave(self) -> None:
        """A process that ends takes its row along, unless the database is away: then it is seen no more."""
        if self._started is None:
            return
        try:
            async with asyncio.timeout(LEAVE_SECONDS), autocommit(self._engine) as conn:
                await conn.execute(_LEAVE, {**self._name, "started": self._started})
        except (SQLAlchemyError, OSError) as err:
            log.warning("instance.unremoved", error=repr(err))


@asynccontextmanager
async def present(
    engine: AsyncEngine,
    service: str,
    instance: str,
    consumers: Callable[[], Sequence[ConsumerLoad]] = lambda: (),
) -> AsyncIterator[None]:
    """The row is there while the block runs: as long as the process takes work."""
    heartbeat = Heartbeat(engine, service, instance, consumers)
    beats = repeat(heartbeat.beat, every=EVERY_SECONDS, failed="instance.heartbeat_failed")
    beating = asyncio.create_task(beats, name="instance-heartbeat")
    try:
        yield
    finally:
        await end_tasks(beating)
        await heartbeat.leave()
