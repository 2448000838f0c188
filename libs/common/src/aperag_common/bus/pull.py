"""Pull requests to one durable consumer, one at a time; a message is handed over as soon as it is there.

The client's own ``fetch`` gives out a batch when it is full or its time is over: of a few messages that come close
together, some were held back for the whole of that time.
"""

from __future__ import annotations

import json
import time
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
ENDED = {api.StatusCode.NO_MESSAGES, api.StatusCode.REQUEST_TIMEOUT, api.StatusCode.CONFLICT}
NANOSECONDS = 1_000_000_000


class Pull:
    """At most one request is under way, so no more messages come than its ``most``."""

    def __init__(self, bus: Bus, stream: str, consumer: str, subscription: Subscription) -> None:
        self._bus = bus
        self._subject = f"{JS}.CONSUMER.MSG.NEXT.{stream}.{consumer}"
        self._subscription = subscription
        self._inbox = subscription.subject.removesuffix("*")
        self._requests = 0
        self._owed = 0
        self._until = 0.0

    @classmethod
    async def open(cls, bus: Bus, stream: str, consumer: str) -> Pull:
        return cls(bus, stream, consumer, await bus.nc.subscribe(f"{bus.nc.new_inbox()}.*"))

    @property
    def under_way(self) -> bool:
        """Messages may still come that were asked for."""
        return self._owed > 0

    async def next(self, most: int) -> Msg | None:
        """The next message; None where the request ended without one. No answer at all is a ``TimeoutError``."""
        if not self.under_way:
            await self._ask(most)
        try:
            message = await self._receive()
        except TimeoutError:
            self._owed = 0
            raise
        status = (message.headers or {}).get(api.Header.STATUS)
        if status is None:
            self._owed -= 1
            return message
        self._owed = 0
        if status in ENDED:
            return None
        raise APIError.from_msg(message)

    async def close(self) -> None:
        await self._subscription.unsubscribe()

    async def _receive(self) -> Msg:
        """What an earlier request still says of its end is passed over: taken for that of the one under way, there
        would be two of them from then on.
        """
        while True:
            message = await self._subscription.next_msg(timeout=max(self._until - time.monotonic(), 0.001))
            # A message carries the subject of its publish, a status that of the request it answers.
            if not message.subject.startswith(self._inbox) or message.subject == self._reply:
                return message

    @property
    def _reply(self) -> str:
        return f"{self._inbox}{self._requests}"

    async def _ask(self, most: int) -> None:
        request = {"batch": most, "expires": int(PULL_SECONDS * NANOSECONDS)}
        self._requests += 1
        await self._bus.nc.publish(self._subject, json.dumps(request).encode(), self._reply)
        self._owed = most
        self._until = time.monotonic() + PULL_SECONDS + GRACE_SECONDS
