"""Pages of events: what has happened is on the page, what happens is added to it while it is looked at."""

from __future__ import annotations

import asyncio
import json
from collections import deque
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from starlette.responses import StreamingResponse
from starlette.routing import Route

from aperag_console.collections.listing import every
from aperag_console.events.tail import AGGREGATES, SINCE, Event, Wanted
from aperag_console.gateway.failures import GatewayFailure
from aperag_console.gateway.frames import Frame, frames
from aperag_console.web.page import macro, open_door, open_page
from aperag_console.web.streams import EVENTS, UNBUFFERED

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    import httpx
    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.gateway.client import Api
    from aperag_console.web.page import Page

MOST = 300
"""Rows on a page, the newest."""
PAST_SECONDS = 4.0
"""A page waits no longer for what has happened: its script reads on from there."""


async def show(request: Request) -> Response:
    page = await open_page(request)
    wanted = Wanted.of(page)
    collections, (found, after) = await asyncio.gather(every(page.api), _past(page.api, wanted))
    return page.render(
        "events.html",
        wanted=wanted,
        found=found,
        after=after,
        most=MOST,
        collections=collections,
        aggregates=AGGREGATES,
        spans=SINCE,
        behind=page.query("blur") == "run",
    )


async def _past(api: Api, wanted: Wanted) -> tuple[list[Event], str]:
    """The newest events since the time asked for, the newest first, and the position after them."""
    span = SINCE[wanted.since]
    params = {} if span is None else {"since": (datetime.now(UTC) - span).isoformat()}
    found: deque[Event] = deque(maxlen=MOST)
    after, markers = "", 1 if span is None else 2
    with suppress(TimeoutError):
        async with asyncio.timeout(PAST_SECONDS), api.stream("events", params=params) as source:
            async for frame in frames(source.aiter_lines()):
                after = frame.id or after
                if frame.data:
                    found.extendleft(_matching(frame, wanted))
                elif frame.id:
                    markers -= 1  # the first says where the stream begins, the second where the past ends
                if not markers:
                    break
    return list(found), after


def _matching(frame: Frame, wanted: Wanted) -> list[Event]:
    """None for what is no event of the person's: the stream tells of itself too."""
    body = json.loads(frame.data)
    return [event] if "type" in body and (event := Event(body)) in wanted else []


async def follow(request: Request) -> Response:
    page, after = open_door(request), request.headers.get("last-event-id", "")
    opened = AsyncExitStack()
    source = await opened.enter_async_context(
        page.api.stream("events", headers={"Last-Event-ID": after} if after else {})
    )
    return StreamingResponse(_rows(page, opened, source), media_type=EVENTS, headers=UNBUFFERED)


async def _rows(page: Page, opened: AsyncExitStack, source: httpx.Response) -> AsyncIterator[bytes]:
    """Each as the page itself shows it. What does not match still moves the position."""
    wanted, row = Wanted.of(page), macro("event_row.html", "row")
    with suppress(GatewayFailure):
        async with opened:
            async for frame in frames(source.aiter_lines()):
                position = f"id: {frame.id}\n".encode() if frame.id else b": still here\n"
                if frame.event == "reset":
                    yield position + b"event: reset\ndata: {}\n\n"
                    continue
                rows = [row(page.texts, page.formats, it) for it in (_matching(frame, wanted) if frame.data else [])]
                told = [f"event: row\ndata: {json.dumps(html, ensure_ascii=False)}\n".encode() for html in rows]
                yield b"".join([position, *told, b"\n"])


ROUTES = [Route("/events", show), Route("/events/live", follow)]
