"""The first page."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

from aperag_console.collections.listing import every, recent
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

MOST_SHOWN = 12
LOOKED_AT = 6
"""Collections, the latest first: the gateway lists documents of one collection at a time."""


async def show(request: Request) -> Response:
    page = await open_page(request)
    collections = await every(page.api)
    own = [it for it in collections if it["subscription_id"] is None]
    target = next((it for it in own if it["id"] == page.query("collection")), own[0] if own else None)
    documents = await recent(page.api, own[:LOOKED_AT], most=MOST_SHOWN)
    return page.render("home.html", collections=collections, own=own, target=target, documents=documents)


ROUTES = [Route("/", show)]
