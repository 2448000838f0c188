"""Pages of API keys."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from aperag_console.collections.listing import every
from aperag_console.integrations.connect import access_of
from aperag_console.web.forms import form_of
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

KEYS = "/integrations/keys"


async def show(request: Request, *, made: dict[str, Any] | None = None) -> Response:
    page = await open_page(request)
    keys, collections = await asyncio.gather(page.api.get("apikeys"), every(page.api))
    opened = await access_of(request, made["key"]) if made else {"access": None, "programs": {}}
    return page.render(
        "keys.html",
        keys=keys["items"],
        collections=collections,
        titles={it["id"]: it["title"] for it in collections},
        made=made,
        now=datetime.now(UTC).isoformat(),
        **opened,
    )


async def make(request: Request) -> Response:
    """The answer shows the key: this is the only moment at which it is known, so it goes into no address and no cookie."""
    page, form = await open_page(request), await form_of(request)
    body: dict[str, Any] = {"description": form.text("description"), "scope": form.text("scope") or "all"}
    if chosen := form.texts("collections"):
        body["collection_ids"] = chosen
    if days := form.number("days"):
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    return await show(request, made=await page.api.post("apikeys", body=body))


async def revoke(request: Request) -> Response:
    page = await open_page(request)
    await page.api.delete("apikeys", request.path_params["key_id"])
    return page.go(KEYS, "keys.revoked")


ROUTES = [
    Route(KEYS, show),
    Route(KEYS, make, methods=["POST"]),
    Route(f"{KEYS}/{{key_id}}/revoke", revoke, methods=["POST"]),
]
