"""The person's own event stream, passed on as the gateway sends it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse
from starlette.routing import Route

from aperag_console.gateway.failures import GatewayFailure
from aperag_console.web.page import api_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from starlette.requests import Request
    from starlette.responses import Response

STREAM = "text/event-stream"
UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def follow(request: Request) -> Response:
    """Opened before the answer begins, so that a gateway that is away is a failure and not an empty stream."""
    after = request.headers.get("last-event-id", "")
    opened = AsyncExitStack()
    source = await opened.enter_async_context(
        api_of(request).stream("events", headers={"Last-Event-ID": after} if after else {})
    )
    return StreamingResponse(_passed_on(opened, source), media_type=STREAM, headers=UNBUFFERED)


async def _passed_on(opened: AsyncExitStack, source: httpx.Response) -> AsyncIterator[bytes]:
    """A lost gateway ends the stream: the browser comes back with its last position."""
    try:
        async with opened:
            async for piece in source.aiter_raw():
                yield piece
    except GatewayFailure:
        return


ROUTES = [Route("/live", follow)]
