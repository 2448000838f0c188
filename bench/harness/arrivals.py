"""When each document became searchable, as a reader of the event stream is told."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import httpx
from httpx_sse import SSEError, aconnect_sse

from aperag_common.events import facts
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from aperag_testing.client import Client

ENDS = frozenset(fact.type_name for fact in facts.ENDS)
AGAIN_SECONDS = 0.1
CONNECT_SECONDS = 60.0
SILENCE_SECONDS = 180.0
"""Nothing became searchable for so long: the run will not end."""
BY_HAND = "run the stack by hand (`just up`) and look at its logs"


class Arrivals:
    """``ended`` maps a task to when its end was told (``time.perf_counter``), ``outcomes`` to how it ended; ``carried``
    maps the id of another service's event to its task.
    """

    def __init__(self) -> None:
        self.ended: dict[str, float] = {}
        self.outcomes: dict[str, str] = {}
        self.carried: dict[str, str] = {}
        self._open: set[str] = set()
        self._news = asyncio.Event()
        self._last_id: str | None = None
        self._connected = asyncio.Event()

    async def all_of(self, tasks: Collection[str]) -> None:
        self._open = set(tasks) - self.ended.keys()
        while self._open:
            await self._hear(f"{len(self._open)} documents did not end")

    async def task_of(self, event_id: str) -> str:
        """The task of an event of another service, once it was carried out."""
        while event_id not in self.carried:
            await self._hear(f"the event {event_id} was not carried out")
        return self.carried[event_id]

    async def _hear(self, missing: str) -> None:
        self._news.clear()
        try:
            await asyncio.wait_for(self._news.wait(), SILENCE_SECONDS)
        except TimeoutError:
            message = f"{missing}, and nothing was told for {SILENCE_SECONDS:.0f} s"
            raise BenchError(message, hint=BY_HAND) from None

    async def follow(self, client: Client) -> None:
        """Until cancelled; a lost connection is resumed after the last event."""
        while True:
            headers = {"Last-Event-ID": self._last_id} if self._last_id else {}
            try:
                async with aconnect_sse(client.http, "GET", "/events", headers=headers) as source:
                    async for message in source.aiter_sse():
                        self._take(message.id, message.event, message.data)
            except (httpx.TransportError, SSEError):
                await asyncio.sleep(AGAIN_SECONDS)

    async def until_connected(self) -> None:
        try:
            await asyncio.wait_for(self._connected.wait(), CONNECT_SECONDS)
        except TimeoutError:
            message = f"the gateway's event stream did not begin within {CONNECT_SECONDS:.0f} s"
            raise BenchError(message, hint=BY_HAND) from None

    def _take(self, id_: str, type_: str, data: str) -> None:
        self._last_id = id_ or self._last_id
        self._connected.set()
        if type_ not in {*ENDS, "ingest.completed"}:
            return
        fact = json.loads(data)["data"]
        if type_ == "ingest.completed":
            self.carried[fact["id"]] = fact["workflow_id"] or ""
            self._news.set()
            return
        task = fact["workflow_id"]
        self.ended.setdefault(task, time.perf_counter())
        self.outcomes[task] = fact["outcome"]
        self._open.discard(task)
        self._news.set()


@asynccontextmanager
async def arrivals(client: Client) -> AsyncIterator[Arrivals]:
    """From now on."""
    told = Arrivals()
    following = asyncio.create_task(told.follow(client))
    try:
        await told.until_connected()
        yield told
    finally:
        following.cancel()
        await asyncio.wait({following})
