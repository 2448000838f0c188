"""Reading all queues: the database's part always, the NATS server's where it answers."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError

from aperag_api.kernel.reading import reading
from aperag_api.operations.queues import repository
from aperag_api.operations.queues.schemas import OpenTasksOut, QueuesOut, StreamOut
from aperag_api.operations.queues.view import Counted, Held, consumer_view
from aperag_common.bus import specs, topology
from aperag_work import backlog

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus

log = structlog.get_logger(__name__)

WINDOW = timedelta(minutes=5)
NATS_SECONDS = 2.0
NOT_CONNECTED = "NATS is not connected: what it holds is not known. The database's figures are right all the same."
NO_ANSWER = "NATS did not answer: what it holds is not known. The database's figures are right all the same."


@dataclass(frozen=True, slots=True)
class _Server:
    """``problem`` says why the rest is empty."""

    problem: str | None
    held: dict[str, Held]
    streams: list[StreamOut]


@dataclass(frozen=True, slots=True)
class QueueService:
    engine: AsyncEngine
    bus: Bus

    async def get(self) -> QueuesOut:
        server, database = await asyncio.gather(self._server(), self._database())
        counted: Counted = database.pop("counted")
        needed = database.pop("needed")
        specs = [spec for stream in topology.streams() for spec in stream.consumers if spec.service in needed]
        consumers = [consumer_view(spec, counted, server.held.get(spec.name)) for spec in specs]
        return QueuesOut(nats=server.problem, streams=server.streams, consumers=consumers, **database)

    async def _database(self) -> dict[str, Any]:
        """Fields of ``QueuesOut``, and what its consumers are made of."""
        async with reading(self.engine) as conn:
            read_at = await repository.now(conn)
            workers = await repository.workers(conn)
            work, failed = await backlog.open_work(conn), await backlog.failed_work(conn)
            settled, took = await backlog.settled(conn, WINDOW), await backlog.took(conn, WINDOW)
            counted = Counted(work, failed, settled, took, WINDOW, workers)
            tasks = [OpenTasksOut(**_plain(it)) for it in await backlog.open_tasks(conn)]
            running = await repository.running(conn)
            totals = await backlog.totals(conn)
            needed = await backlog.needed(conn)
        plain = {"read_at": read_at, "workers": workers, "running": running, "tasks": tasks}
        return {**plain, **_plain(totals), "counted": counted, "needed": needed}

    async def _server(self) -> _Server:
        if not self.bus.connected:
            return _Server(NOT_CONNECTED, {}, [])
        specs = [spec for stream in topology.streams() for spec in stream.consumers]
        try:
            async with asyncio.timeout(NATS_SECONDS):
                held = await asyncio.gather(*(self._held(spec) for spec in specs))
                streams = await asyncio.gather(*(self._stream(spec) for spec in topology.streams()))
        except (NatsError, JetStreamError, TimeoutError) as err:
            log.warning("queues.untold", error=repr(err))
            return _Server(NO_ANSWER, {}, [])
        return _Server(None, dict(zip((spec.name for spec in specs), held, strict=True)), streams)

    async def _held(self, spec: specs.ConsumerSpec) -> Held:
        info = await self.bus.js.consumer_info(spec.stream, spec.name)
        return Held(info.num_pending or 0, info.num_ack_pending or 0, info.num_redelivered or 0)

    async def _stream(self, spec: specs.StreamSpec) -> StreamOut:
        state = (await self.bus.js.stream_info(spec.name)).state
        limit = spec.max_bytes if spec.max_bytes > 0 else None
        return StreamOut(name=spec.name, messages=state.messages, bytes=state.bytes, max_bytes=limit)


def _plain(value: backlog.OpenTasks | backlog.Totals) -> dict[str, Any]:
    return {name: getattr(value, name) for name in value.__dataclass_fields__}
