"""Pages of one's own account."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.routing import Route

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


ROUTES = [
    Route("/account", show),
    Route("/account/password", change_password, methods=["POST"]),
]
