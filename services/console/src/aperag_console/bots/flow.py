"""The page of a bot's flow: the whole of it as JSON, and a run that is tried, step by step."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING, Any

import httpx
from starlette.routing import Route

from aperag_console.bots.config import parsed
from aperag_console.bots.steps import Run, run_of
from aperag_console.web.forms import form_of
from aperag_console.web.page import open_page
from aperag_console.web.waterfall import FULL

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.page import Page

SILENCE = httpx.Timeout(45.0, connect=5.0)
"""A run may take as long as it says anything: the gateway sends a comment every 15 s."""


async def show(request: Request) -> Response:
    return await _render(await open_page(request), request.path_params["bot_id"])


async def act(request: Request) -> Response:
    page, form, bot_id = await open_page(request), await form_of(request), request.path_params["bot_id"]
    if form.text("action") == "debug":
        body = {"query": form.text("query")}
        told = await page.api.send("POST", "bots", bot_id, "flow", "debug", json=body, timeout=SILENCE)
        return await _render(page, bot_id, query=form.text("query"), run=run_of(told.text.splitlines()))
    await page.api.put("bots", bot_id, "flow", body=parsed(form.text("flow")))
    return page.go(f"/bots/{bot_id}/flow", "bots.saved")


async def _render(page: Page, bot_id: str, *, query: str = "", run: Run | None = None) -> Response:
    bot, flow = await asyncio.gather(page.api.get("bots", bot_id), page.api.get("bots", bot_id, "flow"))
    return page.render("flow.html", bot=bot, flow=_text(flow), query=query, run=run, full=FULL, text=_text)


def _text(value: Any) -> str:
    return json.dumps(value, indent=2, ensure_ascii=False) if value else ""


ROUTES = [Route("/bots/{bot_id}/flow", show), Route("/bots/{bot_id}/flow", act, methods=["POST"])]
