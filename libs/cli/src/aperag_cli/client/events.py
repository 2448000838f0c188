"""What happens to the caller's documents, told as it happens; a lost connection is taken up where it was lost."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

import httpx
from httpx_sse import EventSource

from aperag_cli.client.errors import ApiError, NotAGateway, Unreachable
from aperag_cli.client.patience import Patience, may_pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aperag_cli.client.http import Http

READ_TIMEOUT = httpx.Timeout(30.0, read=45.0)
"""Three times the gateway's heartbeat: longer silence is a dead connection."""
RESET = "reset"
AGAIN = Patience(first=1.0, longest=10.0)


@dataclass(frozen=True, slots=True)
class Event:
    """``id`` is a position to resume after; ``type`` is ``<aggregate>.<fact>``, or ``reset`` where events were missed."""

    id: str
    type: str
    body: dict[str, Any]

    @property
    def data(self) -> dict[str, Any]:
        return dict(self.body.get("data") or {})


class Subscription:
    """Events in the order the gateway tells them; the first failure that does not pass is raised by ``next``."""

    def __init__(self, http: Http, since: str | datetime | None, on_loss: Callable[[ApiError], None]) -> None:
        self._http = http
        self._position = since if isinstance(since, str) else None
        self._moment = since if isinstance(since, datetime) else None
        self._on_loss = on_loss
        self._heard: asyncio.Queue[Event | ApiError] = asyncio.Queue()
        self._connected = False
        self.listening = asyncio.Event()

    async def next(self, seconds: float | None = None) -> Event | None:
        """None after so many seconds of silence."""
        try:
            async with asyncio.timeout(seconds):
                heard = await self._heard.get()
        except TimeoutError:
            return None
        if isinstance(heard, ApiError):
            raise heard
        return heard

    async def pump(self) -> None:
        """Read for ever. The first connection must succeed; later ones are tried until they do."""
        losses = 0
        while True:
            self._connected = False
            try:
                await self._read()
                lost: ApiError = Unreachable("the gateway ended the event stream")
            except ApiError as err:
                lost = err
            except ValueError as err:
                lost = NotAGateway(f"an event cannot be read: {err}", hint="check the address (--url)")
            if not self.listening.is_set() or not may_pass(lost):
                self._heard.put_nowait(lost)
                self.listening.set()
                return
            losses = 1 if self._connected else losses + 1
            self._on_loss(lost)
            await asyncio.sleep(AGAIN.delay(losses, lost))

    async def _read(self) -> None:
        headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
        if self._position is not None:
            headers["Last-Event-ID"] = self._position
        begin = {} if self._moment is None else {"since": self._moment.isoformat()}  # a position counts more
        async with self._http.stream("GET", "/events", params=begin, headers=headers, timeout=READ_TIMEOUT) as response:
            async for message in EventSource(response).aiter_sse():
                if message.data:  # a block without data only moves the position
                    self._heard.put_nowait(Event(message.id, message.event, json.loads(message.data)))
                self._position = message.id or self._position
                self._connected = True
                self.listening.set()  # not before there is a position: a connection lost until then misses events


@asynccontextmanager
async def subscribe(
    http: Http, *, since: str | datetime | None = None, on_loss: Callable[[ApiError], None]
) -> AsyncIterator[Subscription]:
    """From now on, or from after the event or time ``since``; entered, nothing that follows is missed unless a ``reset`` says so."""
    subscription = Subscription(http, since, on_loss)
    pump = asyncio.create_task(subscription.pump())
    try:
        await subscription.listening.wait()
        yield subscription
    finally:
        pump.cancel()
        await asyncio.wait({pump})
