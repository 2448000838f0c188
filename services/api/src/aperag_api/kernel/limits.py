"""Bodies that are gathered in memory stay small; a route that streams has limits of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import Request
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

_METER = "aperag.body"


class BodyLimit:
    """Refuses a body of more than ``limit`` bytes while it arrives.

    Starlette's own limit answers in plain text; this one leaves the answer to the error handlers.
    """

    def __init__(self, app: ASGIApp, limit: int) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        meter = scope[_METER] = _Meter(self._limit)

        async def counted() -> Message:
            message = await receive()
            meter.count(len(message.get("body", b"")))
            return message

        await self._app(scope, counted, send)


class _Meter:
    """What has arrived of one body, and how much of it may."""

    def __init__(self, limit: int) -> None:
        self.limit: int | None = limit
        self._received = 0

    def count(self, size: int) -> None:
        self._received += size
        if self.limit is not None and self._received > self.limit:
            raise HTTPException(413, f"The body is larger than {self.limit} bytes")


def unlimited(request: Request) -> AsyncIterator[bytes]:
    """The body as it arrives. What a client says of its content type lifts no limit: only the route does."""
    request.scope[_METER].limit = None
    return request.stream()
