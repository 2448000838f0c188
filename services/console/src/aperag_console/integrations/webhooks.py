"""Pages of webhooks: where events are sent, and what became of each delivery."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from aperag_console.collections.listing import every
from aperag_console.events.tail import AGGREGATES, SINCE, Event
from aperag_console.web.forms import form_of, words
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.forms import Form
    from aperag_console.web.page import Page

WEBHOOKS = "/integrations/webhooks"
STATUSES = ("pending", "delivered", "failed")
PAGE_SIZE = 25
LOOKS, LOOK_SECONDS = 12, 0.25
"""After a delivery was asked for, its page waits so long for what becomes of it: no event tells that."""


async def show(request: Request) -> Response:
    page = await open_page(request)
    found, own = await asyncio.gather(page.api.get("webhooks"), _own(page))
    return page.render("webhooks.html", found=found["items"], collections=own, aggregates=AGGREGATES)


async def make(request: Request) -> Response:
    """The answer shows the secret, as a new key's does."""
    page, form = await open_page(request), await form_of(request)
    made = await page.api.post("webhooks", body=_wanted(form))
    return await _render(page, made["id"], secret=made["secret"])


async def show_one(request: Request) -> Response:
    return await _render(await open_page(request), request.path_params["webhook_id"])


async def _render(page: Page, webhook_id: str, *, secret: str = "") -> Response:
    status = page.query("status") if page.query("status") in STATUSES else ""
    webhook, deliveries, own = await asyncio.gather(
        page.api.get("webhooks", webhook_id),
        page.api.get(
            "webhooks", webhook_id, "deliveries", page=page.number("page", 1), page_size=PAGE_SIZE, status=status
        ),
        _own(page),
    )
    return page.render(
        "webhook.html",
        webhook=webhook,
        found=deliveries,
        wanted=status,
        statuses=STATUSES,
        secret=secret,
        collections=own,
        aggregates=AGGREGATES,
        spans={name: span for name, span in SINCE.items() if span},
    )


async def _own(page: Page) -> list[dict[str, Any]]:
    """Webhooks tell of one's own collections only."""
    return [it for it in await every(page.api) if it["subscription_id"] is None]


async def act(request: Request) -> Response:
    page, form, webhook_id = await open_page(request), await form_of(request), request.path_params["webhook_id"]
    path, here = ("webhooks", webhook_id), f"{WEBHOOKS}/{webhook_id}"
    match form.text("action"):
        case "rotate":
            return await _render(page, webhook_id, secret=(await page.api.post(*path, "rotate"))["secret"])
        case "enable" | "disable" as action:
            await page.api.post(*path, action)
            return page.go(here, f"webhooks.{action}d")
        case "test":
            sent = (await page.api.post(*path, "test"))["delivery_id"]
            await _until_settled(page, webhook_id, sent)
            return page.go(f"{here}/deliveries/{sent}")
        case "replay":
            sent = await page.api.post(*path, "replay", body=_replayed(form))
            return page.go(here, "webhooks.replayed", n=sent["deliveries"], added=sent["added"])
        case "delete":
            await page.api.delete(*path)
            return page.go(WEBHOOKS, "webhooks.deleted")
    await page.api.put(*path, body=_wanted(form))
    return page.go(here, "webhooks.saved")


async def show_delivery(request: Request) -> Response:
    page, (webhook_id, delivery_id) = await open_page(request), _ids(request)
    webhook, delivery = await asyncio.gather(
        page.api.get("webhooks", webhook_id), page.api.get("webhooks", webhook_id, "deliveries", delivery_id)
    )
    return page.render("delivery.html", webhook=webhook, delivery=delivery, payload=Event(delivery["payload"]).json)


async def redeliver(request: Request) -> Response:
    page, (webhook_id, delivery_id) = await open_page(request), _ids(request)
    await page.api.post("webhooks", webhook_id, "deliveries", delivery_id, "redeliver")
    await _until_settled(page, webhook_id, delivery_id)
    return page.go(f"{WEBHOOKS}/{webhook_id}/deliveries/{delivery_id}", "webhooks.redelivered")


async def _until_settled(page: Page, webhook_id: str, delivery_id: str) -> None:
    for _ in range(LOOKS):
        found = await page.api.get("webhooks", webhook_id, "deliveries", delivery_id)
        if found["status"] != STATUSES[0]:
            return
        await asyncio.sleep(LOOK_SECONDS)


def _wanted(form: Form) -> dict[str, Any]:
    body: dict[str, Any] = {"url": form.text("url"), "types": words(form.text("types"))}
    if description := form.text("description"):
        body["description"] = description
    if chosen := form.texts("collections"):
        body["collection_ids"] = chosen
    return body


def _replayed(form: Form) -> dict[str, Any]:
    span = SINCE.get(form.text("since")) or SINCE["1h"]
    assert span is not None  # noqa: S101  an hour is no "now"
    return {"since": (datetime.now(UTC) - span).isoformat(), "failed_only": form.ticked("failed_only")}


def _ids(request: Request) -> tuple[str, str]:
    return request.path_params["webhook_id"], request.path_params["delivery_id"]


ONE = f"{WEBHOOKS}/{{webhook_id}}"
ROUTES = [
    Route(WEBHOOKS, show),
    Route(WEBHOOKS, make, methods=["POST"]),
    Route(ONE, show_one),
    Route(ONE, act, methods=["POST"]),
    Route(f"{ONE}/deliveries/{{delivery_id}}", show_delivery),
    Route(f"{ONE}/deliveries/{{delivery_id}}", redeliver, methods=["POST"]),
]
