"""Pages of durable subscriptions."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from aperag_console.events.tail import AGGREGATES, SINCE
from aperag_console.web.forms import form_of, words
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.forms import Form

SUBSCRIPTIONS = "/integrations/subscriptions"
COMMAND = "nats --context aperag consumer next {stream} {consumer} --count 10"


async def show(request: Request) -> Response:
    """With how much waits in each: a person has few of them."""
    page = await open_page(request)
    listed = (await page.api.get("subscriptions"))["items"]
    found = await asyncio.gather(*(page.api.get("subscriptions", it["id"]) for it in listed))
    return page.render("subscriptions.html", found=found, aggregates=AGGREGATES, spans=SINCE, command=COMMAND)


async def make(request: Request) -> Response:
    page, form = await open_page(request), await form_of(request)
    made = await page.api.post("subscriptions", body=_wanted(form))
    return page.go(SUBSCRIPTIONS, "subscriptions.made", name=made["name"])


def _wanted(form: Form) -> dict[str, Any]:
    body: dict[str, Any] = {"name": form.text("name"), "all_owners": form.ticked("all_owners")}
    if types := words(form.text("types")):
        body["types"] = types
    if span := SINCE.get(form.text("start")):
        body["start"] = {"time": (datetime.now(UTC) - span).isoformat()}
    return body


async def delete(request: Request) -> Response:
    page = await open_page(request)
    await page.api.delete("subscriptions", request.path_params["subscription_id"])
    return page.go(SUBSCRIPTIONS, "subscriptions.deleted")


ROUTES = [
    Route(SUBSCRIPTIONS, show),
    Route(SUBSCRIPTIONS, make, methods=["POST"]),
    Route(f"{SUBSCRIPTIONS}/{{subscription_id}}/delete", delete, methods=["POST"]),
]
