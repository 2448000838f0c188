"""A request's body and its answer on their way past."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.datastructures import Headers

from aperag_api.kernel.idempotency.repository import Kept

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.types import Message, Receive, Send

    from aperag_api.kernel.idempotency.fingerprint import Fingerprint

_KEPT_HEADERS = ("content-type", "location", "etag", "last-modified")
_STREAM = "text/event-stream"


class Body:
    """``whole``: it has been seen to its end, so its fingerprint says what it was."""

    def __init__(self, receive: Receive, fingerprint: Fingerprint) -> None:
        self._receive = receive
        self._fingerprint = fingerprint
        self._gathered: list[Message] = []
        self._left = False
        self.whole = False

    async def gather(self, at_most: int) -> None:
        """Read ahead; the application still gets all of it."""
        size = 0
        while not self.whole and not self._left and size <= at_most:
            message = await self._read()
            size += len(message.get("body", b""))
            self._gathered.append(message)

    async def drain(self, at_most: int) -> None:
        """Read on to the end, for nobody."""
        while not self.whole and not self._left and at_most >= 0:
            at_most -= len((await self._read()).get("body", b""))

    async def receive(self) -> Message:
        return self._gathered.pop(0) if self._gathered else await self._read()

    async def _read(self) -> Message:
        message = await self._receive()
        if message["type"] == "http.request":
            self._fingerprint.add(message.get("body", b""))
            self.whole = not message.get("more_body", False)
        else:
            self._left = True
        return message


class Answer:
    """Held back until it is kept; sent as it comes where it is none to keep."""

    def __init__(self, send: Send, at_most: int, keep: Callable[[Kept], Awaitable[None]]) -> None:
        self._send = send
        self._at_most = at_most
        self._keep = keep
        self._held: list[Message] = []
        self._size = 0
        self._holding = False

    async def send(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._holding = _is_to_keep(message)
        if not self._holding:
            await self._send(message)
            return
        self._held.append(message)
        self._size += len(message.get("body", b""))
        ended = message["type"] == "http.response.body" and not message.get("more_body", False)
        if ended and self._size <= self._at_most:
            await self._keep(self._kept())
        if ended or self._size > self._at_most:
            self._holding = False
            for held in self._held:
                await self._send(held)

    def _kept(self) -> Kept:
        start, *rest = self._held
        headers = Headers(raw=start["headers"])
        chosen = {name: headers[name] for name in _KEPT_HEADERS if name in headers}
        return Kept(start["status"], chosen, b"".join(message.get("body", b"") for message in rest))


def _is_to_keep(start: Message) -> bool:
    """A refusal has changed nothing: asked again, it may be none. What sets a cookie is nobody else's to get."""
    headers = Headers(raw=start["headers"])
    streamed = headers.get("content-type", "").startswith(_STREAM)
    return 200 <= start["status"] < 300 and not streamed and "set-cookie" not in headers
