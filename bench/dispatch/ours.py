"""Our two lanes: over the bus alone, and with a job that is claimed and completed under its fence."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING

from aperag_common import ids, subjects
from aperag_common.bus.connection import connect
from aperag_common.bus.declared import declared_for
from aperag_common.bus.publish import Outgoing
from aperag_common.db.models.base import Lane as Priority
from aperag_common.metrics import Metrics
from aperag_common.services import Service
from aperag_common.settings import NatsSettings, PostgresSettings
from aperag_work.accepting import NewDocument, accept
from aperag_work.database import Database
from aperag_work.dispatcher import Dispatcher
from aperag_work.opening import Admission
from bench.dispatch.lane import many
from bench.dispatch.order import REPLIES, SUBJECT, make_order
from bench.dispatch.task import Task

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence
    from typing import Any

    from nats.aio.msg import Msg

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.publish import Publisher
    from aperag_work.change import Change

CALLERS = 64
"""Publishes under way at a time while many are enqueued; each waits for the server's fsync."""
TRANSACTIONS = 12
"""As above, of documents accepted; fewer than the pool has connections."""
ADMISSION = Admission(Priority.INTERACTIVE, in_flight_per_owner=10**9, first_due=timedelta(hours=1))
"""Nothing is held back and nothing is sent twice: fair release and re-drive are not measured here."""
EVENTS_PER_STEP = 2
"""Of a document with one step: parsed, indexed."""


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
        await many(lambda: self._publish(next(self._numbers), task), count, CALLERS)

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
        await self.publisher.publish(subjects.COMMANDS, [Outgoing(SUBJECT, body, f"bench:{number}")])


@dataclass(slots=True)
class StepLane:
    """Accept a document with one step, claim it, run, settle it under the fence; the end is an event on its stream."""

    bus: Bus
    dispatcher: Dispatcher
    database: Database
    places: Sequence[tuple[str, str]]
    name: str = "ours, claim and fence"
    tasks: Sequence[Task] = tuple(Task)
    _numbers: itertools.count[int] = field(default_factory=itertools.count)
    _waiting: dict[str, asyncio.Future[None]] = field(default_factory=dict)
    _expected: int = 0

    async def enqueue(self, task: Task, count: int) -> None:
        async def accept() -> None:
            self.dispatcher.deliver(await self._accept(task, str(ids.new_document_id())))

        await many(accept, count, TRANSACTIONS)
        await self.dispatcher.close()
        self._expected = await _stored(self.bus, subjects.EVENTS) + EVENTS_PER_STEP * count

    async def drained(self) -> bool:
        if await _stored(self.bus, subjects.COMMANDS):
            return False
        return await _stored(self.bus, subjects.EVENTS) >= self._expected

    async def trip(self, task: Task) -> float:
        begun = time.perf_counter()
        document_id = str(ids.new_document_id())
        ended = self._waiting[document_id] = asyncio.get_running_loop().create_future()
        self.dispatcher.deliver(await self._accept(task, document_id))
        await ended
        return time.perf_counter() - begun

    async def take(self, message: Msg) -> None:
        """An event of one of our documents."""
        if not self._waiting or subjects.parse_event(message.subject).type != "document.indexed":
            return
        if waiting := self._waiting.pop(json.loads(message.data)["subject"], None):
            waiting.set_result(None)

    async def _accept(self, task: Task, document_id: str) -> Change:
        number = next(self._numbers)
        owner, collection = self.places[number % len(self.places)]
        new = NewDocument(
            id=document_id,
            collection_id=collection,
            owner=owner,
            name=f"{task}-{number}.txt",
            size=0,
            sha256="0" * 64,
            object_path=f"bench/{document_id}",
        )
        async with self.database.durable.transaction() as conn:
            [change] = await accept(conn, [new], (), ADMISSION)
        return change


@asynccontextmanager
async def our_lanes(nats_url: str, database_url: str, places: Sequence[tuple[str, str]]) -> AsyncIterator[list[Any]]:
    """The caller's side; its connection is closed at the end. ``places`` are owners with a collection of each."""
    metrics = Metrics("bench")
    bus = await connect(NatsSettings(url=nats_url), service="api", instance="bench", metrics=metrics)
    database = Database(PostgresSettings(url=database_url), name="bench")
    dispatcher = Dispatcher(bus, database, metrics, declared_for(Service.RECONCILER))
    try:
        alone = BusLane(bus, dispatcher.publisher)
        step = StepLane(bus, dispatcher, database, places)
        await bus.nc.subscribe(f"{REPLIES}.>", cb=alone.take)
        await bus.js.subscribe(subjects.ALL_EVENTS, stream=subjects.EVENTS, ordered_consumer=True, cb=step.take)
        yield [alone, step]
    finally:
        await dispatcher.close()
        await database.close()
        await bus.close()
