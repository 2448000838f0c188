"""Our two lanes: over the bus alone, and with a driven row that is claimed and settled under its fence."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from aperag_common import ids
from aperag_common.bus import subjects
from aperag_common.bus.connection import connect
from aperag_common.db.models.base import Lane as Priority
from aperag_common.metrics import Metrics
from aperag_common.settings import NatsSettings
from aperag_common.work import changes
from aperag_common.work.courier import Courier
from bench.dispatch.order import REPLIES, SUBJECT, make_order
from bench.dispatch.task import Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
    from typing import Any

    from nats.aio.msg import Msg
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.publish import Publisher
    from aperag_common.work.change import Change

CALLERS = 64
"""Publishes under way at a time while many are enqueued; each waits for the server's fsync."""
TRANSACTIONS = 12
"""As above, of documents accepted; fewer than the pool has connections."""
PACE = changes.Pace(Priority.INTERACTIVE, in_flight_per_owner=10**9, first_due=timedelta(hours=1))
"""Nothing is held back and nothing is sent twice: fair release and re-drive are not measured here."""
EVENTS_PER_STEP = 2
"""Of a document with one step: parsed, indexed."""


async def _many(work: Callable[[], Coroutine[Any, Any, None]], count: int, callers: int) -> None:
    left = iter(range(count))

    async def caller() -> None:
        for _ in left:
            await work()

    await asyncio.gather(*(caller() for _ in range(callers)))


async def _stored(bus: Bus, stream: str) -> int:
    return (await bus.js.stream_info(stream)).state.messages


@dataclass(slots=True)
class BusLane:
    """Publish to the work queue, decode, validate, run, acknowledge; the end is told over core NATS."""

    bus: Bus
    publisher: Publisher
    name: str = "ours, bus only"
    tasks: Sequence[Task] = tuple(Task)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _waiting: dict[str, asyncio.Future[None]] = field(default_factory=dict)

    async def enqueue(self, task: Task, count: int) -> None:
        await _many(lambda: self._publish(next(self._numbers), task), count, CALLERS)

    async def drained(self) -> bool:
        return not await _stored(self.bus, subjects.COMMANDS)

    async def trip(self, task: Task) -> float:
        begun = time.perf_counter()
        number = next(self._numbers)
        ended = self._waiting[f"{REPLIES}.{number}"] = asyncio.get_running_loop().create_future()
        await self._publish(number, task)
        await ended
        return time.perf_counter() - begun

    async def take(self, message: Msg) -> None:
        """A reply; nobody waits for those of a drain."""
        if waiting := self._waiting.pop(message.subject, None):
            waiting.set_result(None)

    async def _publish(self, number: int, task: Task) -> None:
        body = make_order(number, task).encode()
        await self.publisher.publish(subjects.COMMANDS, SUBJECT, body, message_id=f"bench:{number}")


@dataclass(slots=True)
class StepLane:
    """Accept a document with one step, claim it, run, settle it under the fence; the end is an event on its stream."""

    bus: Bus
    courier: Courier
    engine: AsyncEngine
    collection: str
    owner: str
    name: str = "ours, claim and fence"
    tasks: Sequence[Task] = tuple(Task)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _waiting: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    _expected: int = 0

    async def enqueue(self, task: Task, count: int) -> None:
        async def accept() -> None:
            self.courier.deliver(await self._accept(task, str(ids.new_document_id())))

        await _many(accept, count, TRANSACTIONS)
        await self.courier.close()
        self._expected = await _stored(self.bus, subjects.EVENTS) + EVENTS_PER_STEP * count

    async def drained(self) -> bool:
        if await _stored(self.bus, subjects.COMMANDS):
            return False
        return await _stored(self.bus, subjects.EVENTS) >= self._expected

    async def trip(self, task: Task) -> float:
        begun = time.perf_counter()
        document_id = str(ids.new_document_id())
        ended = self._waiting[document_id] = asyncio.get_running_loop().create_future()
        self.courier.deliver(await self._accept(task, document_id))
        await ended
        return time.perf_counter() - begun

    async def take(self, message: Msg) -> None:
        """An event of one of our documents."""
        if not self._waiting or subjects.parse_event(message.subject).type != "document.indexed":
            return
        if waiting := self._waiting.pop(json.loads(message.data)["subject"], None):
            waiting.set_result(None)

    async def _accept(self, task: Task, document_id: str) -> Change:
        new = changes.NewDocument(
            id=document_id,
            collection_id=self.collection,
            owner=self.owner,
            name=f"{task}-{next(self._numbers)}.txt",
            size=0,
            sha256="0" * 64,
            object_path=f"bench/{document_id}",
        )
        async with self.engine.begin() as conn:
            [change] = await changes.upload(conn, [new], kinds=(), pace=PACE)
        return change


@asynccontextmanager
async def our_lanes(nats_url: str, engine: AsyncEngine, collection: str, owner: str) -> AsyncIterator[list[Any]]:
    """The caller's side; its connection is closed at the end."""
    metrics = Metrics("bench")
    bus = await connect(NatsSettings(url=nats_url), service="api", instance="bench", metrics=metrics)
    courier = Courier(bus, engine, metrics)
    try:
        alone = BusLane(bus, courier.publisher)
        step = StepLane(bus, courier, engine, collection, owner)
        await bus.nc.subscribe(f"{REPLIES}.>", cb=alone.take)
        await bus.js.subscribe(
            subjects.owner_events(owner), stream=subjects.EVENTS, ordered_consumer=True, cb=step.take
        )
        yield [alone, step]
    finally:
        await courier.close()
        await bus.close()
