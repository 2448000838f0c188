"""Pages of one's own account."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from aperag_console.collections.listing import every
from aperag_console.web.forms import form_of
from aperag_console.web.page import THEMES, open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response


async def show(request: Request) -> Response:
    page = await open_page(request)
    return page.render("account.html", quotas=(await page.api.get("quotas"))["quotas"], themes=THEMES)


async def change_password(request: Request) -> Response:
    page, form = await open_page(request), await form_of(request)
    passwords = {name: form.text(name, strip=False) for name in ("old_password", "new_password")}
    username = page.user["username"] if page.user else ""
    await page.api.post("change-password", body={"username": username, **passwords})
    return page.go("/account", "account.password_changed")


async def show_keys(request: Request, *, made: dict[str, Any] | None = None) -> Response:
    page = await open_page(request)
    keys, collections = await asyncio.gather(page.api.get("apikeys"), every(page.api))
    return page.render(
        "keys.html",
        keys=keys["items"],
        collections=collections,
        titles={it["id"]: it["title"] for it in collections},
        made=made,
    )


async def make_key(request: Request) -> Response:
    """The answer shows the key: this is the only moment at which it is known, so it goes into no address and no cookie."""
    page, form = await open_page(request), await form_of(request)
    body: dict[str, Any] = {"description": form.text("description"), "scope": form.text("scope") or "all"}
    if chosen := form.texts("collections"):
        body["collection_ids"] = chosen
    if days := form.number("days"):
        body["expires_at"] = (datetime.now(UTC) + timedelta(days=days)).isoformat()
    return await show_keys(request, made=await page.api.post("apikeys", body=body))


async def revoke_key(request: Request) -> Response:
    page = await open_page(request)
    await page.api.delete("apikeys", request.path_params["key_id"])
    return page.go("/keys", "keys.revoked")


ROUTES = [
    Route("/account", show),
    Route("/account/password", change_password, methods=["POST"]),
    Route("/keys", show_keys),
    Route("/keys", make_key, methods=["POST"]),
    Route("/keys/{key_id}/revoke", revoke_key, methods=["POST"]),
]
