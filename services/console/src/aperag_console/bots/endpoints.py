"""Pages of bots."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from aperag_console.bots.config import as_object, config_of, parsed
from aperag_console.collections.listing import every
from aperag_console.models import choice_of, choices
from aperag_console.web.forms import Form, form_of
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.page import Page

TYPES = ("agent", "knowledge", "common")


async def show(request: Request) -> Response:
    page = await open_page(request)
    bots = (await page.api.get("bots"))["items"]
    return page.render("bots.html", bots=[{**it, "config": as_object(it["config"])} for it in bots])


async def show_new(request: Request) -> Response:
    return await _render(await open_page(request), None)


async def show_one(request: Request) -> Response:
    page = await open_page(request)
    return await _render(page, await page.api.get("bots", request.path_params["bot_id"]))


async def _render(page: Page, bot: dict[str, Any] | None) -> Response:
    collections, models = await asyncio.gather(
        every(page.api), page.api.post("available_models", body={"tag_filters": []})
    )
    config = as_object(bot["config"]) if bot else {}
    agent = config.get("agent") or {}
    chosen = {it["id"] for it in agent.get("collections") or []} | set(config.get("collection_ids") or [])
    return page.render(
        "bot.html",
        bot=bot,
        types=TYPES,
        agent=agent,
        chosen=chosen,
        collections=collections,
        models=choices(models, "completion"),
        model=choice_of(agent.get("completion")),
        config=json.dumps(config, indent=2, ensure_ascii=False),
    )


async def create(request: Request) -> Response:
    page, form = await open_page(request), await form_of(request)
    body = {"type": form.text("type") or TYPES[0], **_body(form, {})}
    made = await page.api.post("bots", body=body)
    return page.go(f"/bots/{made['id']}", "bots.created")


async def save(request: Request) -> Response:
    """The form, or the whole configuration as JSON."""
    page, form, bot_id = await open_page(request), await form_of(request), request.path_params["bot_id"]
    if form.text("action") == "delete":
        await page.api.delete("bots", bot_id)
        return page.go("/bots", "bots.deleted")
    if form.text("action") == "json":
        body = {"config": parsed(form.text("config"))}
    else:
        before = as_object((await page.api.get("bots", bot_id))["config"])
        body = _body(form, before)
    await page.api.put("bots", bot_id, body=body)
    return page.go(f"/bots/{bot_id}", "bots.saved")


def _body(form: Form, before: dict[str, Any]) -> dict[str, Any]:
    return {
        "title": form.text("title"),
        "description": form.text("description"),
        "config": config_of(form, before),
    }


ROUTES = [
    Route("/bots", show),
    Route("/bots", create, methods=["POST"]),
    Route("/bots/new", show_new),
    Route("/bots/{bot_id}", show_one),
    Route("/bots/{bot_id}", save, methods=["POST"]),
]
