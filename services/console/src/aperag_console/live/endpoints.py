"""The person's own event stream, passed on as the gateway sends it."""

from __future__ import annotations

from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse
from starlette.routing import Route

from aperag_console.web.page import api_of
from aperag_console.web.streams import EVENTS, UNBUFFERED, passed_on

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def follow(request: Request) -> Response:
    """Opened before the answer begins, so that a gateway that is away is a failure and not an empty stream."""
    after = request.headers.get("last-event-id", "")
    opened = AsyncExitStack()
    source = await opened.enter_async_context(
        api_of(request).stream("events", headers={"Last-Event-ID": after} if after else {})
    )
    return StreamingResponse(passed_on(opened, source), media_type=EVENTS, headers=UNBUFFERED)


ROUTES = [Route("/live", follow)]
