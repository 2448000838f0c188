"""Pages of chats."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import httpx
from starlette.responses import RedirectResponse, Response, StreamingResponse
from starlette.routing import Route

from aperag_console.chats.answer import Answer
from aperag_console.chats.history import Turn, turns_of
from aperag_console.collections.listing import every
from aperag_console.gateway.client import CONNECT_SECONDS, UPLOAD_SECONDS
from aperag_console.gateway.failures import GatewayFailure
from aperag_console.models import choices, spec_of
from aperag_console.web.forms import Form, form_of
from aperag_console.web.page import api_of, open_page
from aperag_console.web.streams import EVENTS, UNBUFFERED
from aperag_console.web.texts import CHAT_LANGUAGES

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Sequence

    from starlette.datastructures import UploadFile
    from starlette.requests import Request

    from aperag_console.web.page import Page

PAGE_SIZE = 30
LONGEST_TITLE = 60
MOST_FILES = 10
UPLOADING = httpx.Timeout(UPLOAD_SECONDS, connect=CONNECT_SECONDS)
AGENT = "agent"
OPEN = frozenset({"queued", "running", "cancelling"})


async def show(request: Request) -> Response:
    """No chat yet: the next question begins one."""
    page = await open_page(request)
    bots = (await page.api.get("bots"))["items"]
    bot = _bot_of(bots, page.query("bot"))
    if bot is None:
        return page.render("chat.html", bots=[], bot=None, chat=None)
    return _render(page, bots, bot, None, await asyncio.gather(*_beside(page, bot["id"])))


async def show_one(request: Request) -> Response:
    page, (bot_id, chat_id) = await open_page(request), _ids(request)
    asked = {"before": page.query("before")} if page.query("before").isdecimal() else {}
    bots, chat, *beside = await asyncio.gather(
        page.api.get("bots"), page.api.get("bots", bot_id, "chats", chat_id, **asked), *_beside(page, bot_id)
    )
    bot = _bot_of(bots["items"], bot_id)
    if bot is None:
        raise GatewayFailure("failure.no_page", status=404)
    turns = turns_of(chat["history"])
    # What has been said in a turn is kept when it ends: one without anything is open, or was stopped at once.
    if turns and not (turns[-1].texts or turns[-1].error):
        turns[-1].open = (await page.api.get("turns", turns[-1].id))["state"] in OPEN
    return _render(page, bots["items"], bot, chat, beside, turns)


def _beside(page: Page, bot_id: str) -> tuple[Awaitable[Any], ...]:
    """What stands beside a chat: collections and models to choose from, and the other chats."""
    return (
        every(page.api),
        page.api.post("available_models", body={"tag_filters": []}),
        page.api.get("bots", bot_id, "chats", page=page.number("page", 1), page_size=PAGE_SIZE),
    )


def _render(
    page: Page,
    bots: list[Any],
    bot: dict[str, Any],
    chat: dict[str, Any] | None,
    beside: Sequence[Any],
    turns: Sequence[Turn] = (),
) -> Response:
    collections, models, chats = beside
    chosen = [it for it in page.query("collection", page.request.cookies.get("ask_collections", "")).split(",") if it]
    return page.render(
        "chat.html",
        bots=bots,
        bot=bot,
        chat=chat,
        chats=chats,
        turns=turns,
        collections=collections,
        chosen=chosen,
        models=choices(models, "completion"),
        model=page.request.cookies.get("ask_model", ""),
        message_id=secrets.token_hex(16),  # a form that is sent twice is one question
    )


async def ask_new(request: Request) -> Response:
    """From the first page, or from a chat that has not begun."""
    page, form = await open_page(request), await form_of(request)
    bot = _bot_of((await page.api.get("bots"))["items"], form.text("bot"))
    if bot is None:
        return page.go("/bots", "chats.no_bot")
    question = form.text("query")
    chat = await page.api.post("bots", bot["id"], "chats", body={"title": _title(question)})
    return await _ask(page, form, bot["id"], chat["id"])


async def ask(request: Request) -> Response:
    page, form = await open_page(request), await form_of(request)
    return await _ask(page, form, *_ids(request))


async def _ask(page: Page, form: Form, bot_id: str, chat_id: str) -> Response:
    collections, model = form.texts("collections"), form.text("model")
    body: dict[str, Any] = {
        "query": form.text("query"),
        "collections": [{"id": it} for it in collections],
        "language": CHAT_LANGUAGES[page.texts.language],
        "web_search_enabled": form.ticked("web"),
    }
    if model:
        body["completion"] = spec_of(model)
    if files := form.files("files"):
        body["files"] = [await _attach(page, chat_id, it) for it in files[:MOST_FILES]]
    if message_id := form.text("message_id"):
        body["message_id"] = message_id
    await page.api.post("bots", bot_id, "chats", chat_id, "turns", body=body)
    response = RedirectResponse(f"/chats/{bot_id}/{chat_id}#end", 303)
    for name, value in (("ask_collections", ",".join(collections)), ("ask_model", model)):
        response.set_cookie(name, value, httponly=True, samesite="lax")
    return response


async def _attach(page: Page, chat_id: str, file: UploadFile) -> dict[str, Any]:
    """A file of the chat, before the question that is about it: its answer waits for it."""
    sent = {"file": (file.filename, file.file, file.content_type or "application/octet-stream")}
    answer = await page.api.send("POST", "chats", chat_id, "documents", files=sent, timeout=UPLOADING)
    document = answer.json()
    return {"id": document["id"], "name": document["name"]}


async def stop(request: Request) -> Response:
    page = await open_page(request)
    try:
        await page.api.post("turns", request.path_params["turn_id"], "cancel")
    except GatewayFailure as failure:
        if failure.status != 409:  # it has ended meanwhile: that is what was wanted
            raise
    return Response(status_code=204)


async def judge(request: Request) -> Response:
    """A second press takes the judgement back."""
    page, form, (bot_id, chat_id) = await open_page(request), await form_of(request), _ids(request)
    body = {"type": form.text("type") or None}
    await page.api.post("bots", bot_id, "chats", chat_id, "messages", form.text("message"), body=body)
    return RedirectResponse(f"/chats/{bot_id}/{chat_id}#{form.text('turn')}", 303)


async def change(request: Request) -> Response:
    page, form, (bot_id, chat_id) = await open_page(request), await form_of(request), _ids(request)
    if form.text("action") == "delete":
        await page.api.delete("bots", bot_id, "chats", chat_id)
        return page.go(f"/chats?bot={bot_id}", "chats.deleted")
    await page.api.put("bots", bot_id, "chats", chat_id, body={"title": form.text("title")})
    return page.go(f"/chats/{bot_id}/{chat_id}", "chats.renamed")


async def follow(request: Request) -> Response:
    """A turn while it is answered, from its beginning: what is missing on the page is told again."""
    opened = AsyncExitStack()
    turn_id = request.path_params["turn_id"]
    source = await opened.enter_async_context(api_of(request).stream("turns", turn_id, "events"))
    return StreamingResponse(_shown(opened, source), media_type=EVENTS, headers=UNBUFFERED)


async def _shown(opened: AsyncExitStack, source: httpx.Response) -> AsyncIterator[bytes]:
    answer = Answer()
    try:
        async with opened:
            async for line in source.aiter_lines():
                if line.startswith(":"):
                    yield b": waiting\n\n"
                elif line.startswith("data:"):
                    for kind, data in answer.take(json.loads(line[5:])):
                        yield f"event: {kind}\ndata: {json.dumps(data, ensure_ascii=False)}\n\n".encode()
    except GatewayFailure:
        return


def _bot_of(bots: list[dict[str, Any]], wanted: str) -> dict[str, Any] | None:
    """The one that is named, else the first that answers with tools."""
    named = next((it for it in bots if it["id"] == wanted), None)
    return named or next((it for it in bots if it["type"] == AGENT), bots[0] if bots else None)


def _title(question: str) -> str:
    first = question.strip().splitlines()[0] if question.strip() else ""
    return first if len(first) <= LONGEST_TITLE else f"{first[: LONGEST_TITLE - 1]}…"


def _ids(request: Request) -> tuple[str, str]:
    return request.path_params["bot_id"], request.path_params["chat_id"]


ONE = "/chats/{bot_id}/{chat_id}"
ROUTES = [
    Route("/chats", show),
    Route("/ask", ask_new, methods=["POST"]),
    Route(ONE, show_one),
    Route(ONE, ask, methods=["POST"]),
    Route(f"{ONE}/feedback", judge, methods=["POST"]),
    Route(f"{ONE}/change", change, methods=["POST"]),
    Route("/turns/{turn_id}/live", follow),
    Route("/turns/{turn_id}/stop", stop, methods=["POST"]),
]
