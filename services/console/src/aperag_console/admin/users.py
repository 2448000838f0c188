"""Pages of users and invitations."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from starlette.routing import Route

from aperag_console.web.forms import form_of
from aperag_console.web.page import open_page
from aperag_console.web.paging import slice_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

HERE = "/admin/users"
PAGE_SIZE = 25
ROLES = ("rw", "ro", "admin")
QUOTAS = ("max_collection_count", "max_document_count", "max_document_count_per_collection", "max_bot_count")


async def show(request: Request) -> Response:
    page = await open_page(request, admin=True)
    users, invitations = await asyncio.gather(page.api.get("users"), page.api.get("invitations"))
    wanted = page.query("search").casefold()
    found = [it for it in users["items"] if wanted in f"{it['username']} {it['email'] or ''}".casefold()]
    return page.render(
        "users.html",
        found=slice_of(found, page.number("page", 1), PAGE_SIZE),
        invitations=[it for it in invitations["items"] if it["is_valid"]],
        roles=ROLES,
        origin=request.app.state.front.address(request),
    )


async def invite(request: Request) -> Response:
    page, form = await open_page(request, admin=True), await form_of(request)
    body = {"email": form.text("email"), "username": form.text("username") or None, "role": form.text("role")}
    await page.api.post("invite", body=body)
    return page.go(HERE, "users.invited", email=body["email"])


async def show_one(request: Request) -> Response:
    page, user_id = await open_page(request, admin=True), request.path_params["user_id"]
    return page.render("user.html", person=await page.api.get("quotas", user_id=user_id))


async def change(request: Request) -> Response:
    """An empty limit gives the user back to the defaults."""
    page, form, user_id = await open_page(request, admin=True), await form_of(request), request.path_params["user_id"]
    if form.text("action") == "delete":
        await page.api.delete("users", user_id)
        return page.go(HERE, "users.deleted")
    await page.api.put("quotas", user_id, body={name: form.number(name) for name in QUOTAS})
    return page.go(f"{HERE}/{user_id}", "users.saved")


ROUTES = [
    Route(HERE, show),
    Route(HERE, invite, methods=["POST"]),
    Route(f"{HERE}/{{user_id}}", show_one),
    Route(f"{HERE}/{{user_id}}", change, methods=["POST"]),
]
