"""Pull requests to one durable consumer, one at a time; what has come is handed over together, at once.

The client's own ``fetch`` gives out a batch when it is full or its time is over: of a few messages that come close
together, some were held back for the whole of that time.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections import deque
from typing import TYPE_CHECKING

from nats.js import api
from nats.js.errors import APIError

from aperag_common.bus.permissions import JS

if TYPE_CHECKING:
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from aperag_common.bus.connection import Bus

PULL_SECONDS = 1.0
"""How long a request waits at the server."""
GRACE_SECONDS = 0.5
"""How long its end may take to get here: until then a new request could bring more than was asked for."""
READING = 2
"""Turns of the event loop from the socket to the subscription: the client reads in one task and hands out in another."""
ENDED = {api.StatusCode.NO_MESSAGES, api.StatusCode.REQUEST_TIMEOUT, api.StatusCode.CONFLICT}
NANOSECONDS = 1_000_000_000


class Pull:
    """At most one request is under way, so no more messages come than its ``most``."""

    def __init__(self, bus: Bus, stream: str, consumer: str) -> None:
        self._bus = bus
        self._subject = f"{JS}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._inbox = f"{bus.nc.new_inbox()}."
        self._subscription: Subscription | None = None
        self._arrived: deque[Msg] = deque()
        self._came = asyncio.Event()
        self._requests = 0
        self._owed = 0
        self._until = 0.0

    @classmethod
    async def open(cls, bus: Bus, stream: str, consumer: str) -> Pull:
        pull = cls(bus, stream, consumer)
        pull._subscription = await bus.nc.subscribe(f"{pull._inbox}*", cb=pull._on_message)
        return pull

    @property
    def under_way(self) -> bool:
        """Messages may still come that were asked for."""
        return self._owed > 0 or bool(self._arrived)

    async def next(self, most: int) -> list[Msg]:
        """What has come; empty where the request ended without a message. No answer at all is a ``TimeoutError``."""
        if not self.under_way:
            await self._ask(most)
        if not self._arrived:
            await self._wait()
        await self._read_on()
        messages: list[Msg] = []
        while self._arrived:
            message = self._arrived.popleft()
            status = (message.headers or {}).get(api.Header.STATUS)
            if status is None:
                self._owed -= 1
                messages.append(message)
            # What an earlier request still says of its end is passed over: taken for that of the one under way, there
            # would be two of them from then on.
            elif message.subject == self._reply:
                self._owed = 0
                if status not in ENDED:
                    raise APIError.from_msg(message)
                return messages
        return messages or await self.next(most)

    async def close(self) -> None:
        if self._subscription is not None:
            await self._subscription.unsubscribe()

    async def _on_message(self, message: Msg) -> None:
        self._arrived.append(message)
        self._came.set()

    async def _wait(self) -> None:
        self._came.clear()
        try:
            async with asyncio.timeout(max(self._until - time.monotonic(), 0.001)):
                await self._came.wait()
        except TimeoutError:
            self._owed = 0
            raise

    async def _read_on(self) -> None:
        """What the socket has already received comes along; nothing is waited for."""
        before = -1
        while before < len(self._arrived) < self._owed:
            before = len(self._arrived)
            for _ in range(READING):
                await asyncio.sleep(0)

    @property
    def _reply(self) -> str:
        return f"{self._inbox}{self._requests}"

    async def _ask(self, most: int) -> None:
        request = {"batch": most, "expires": int(PULL_SECONDS * NANOSECONDS)}
        self._requests += 1
        await self._bus.nc.publish(self._subject, json.dumps(request).encode(), self._reply)
        self._owed = most
        self._until = time.monotonic() + PULL_SECONDS + GRACE_SECONDS
