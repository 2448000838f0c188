"""Bots, chats and turns: asking, following the answer as it is made, and stopping it."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
from httpx_sse import EventSource

from aperag_cli.client.errors import ApiError, NotAGateway, NotFound, Refused, Unreachable
from aperag_cli.client.http import segment
from aperag_cli.client.patience import Patience, may_pass

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from aperag_cli.client.http import Http

READ_TIMEOUT = httpx.Timeout(30.0, read=45.0)
"""Three times the gateway's heartbeat: longer silence is a dead connection."""
AGAIN = Patience(first=0.5, longest=5.0)
ENDS = frozenset({"stop", "error"})


@dataclass(frozen=True, slots=True)
class Told:
    """``kind`` as in the gateway's events; ``body`` is all of one."""

    kind: str
    body: dict[str, Any]

    @property
    def text(self) -> str:
        data = self.body.get("data")
        return data if isinstance(data, str) else ""


async def bots(http: Http) -> list[dict[str, Any]]:
    return list((await http.json("GET", "/bots"))["items"])


async def agent_bot(http: Http, wanted: str | None) -> dict[str, Any]:
    """The one that a person named by id or title, else the first that is an agent."""
    for bot in await bots(http):
        if bot["type"] == "agent" if wanted is None else wanted in {bot["id"], bot["title"]}:
            return bot
    message = "there is no agent bot" if wanted is None else f"no bot is titled {wanted!r}, and it is no id of one"
    raise NotFound(message, hint="make one: POST /api/v1/bots with the type agent")


async def begin(http: Http, bot_id: str, title: str) -> dict[str, Any]:
    return dict(await http.json("POST", f"/bots/{segment(bot_id)}/chats", json={"title": title}))


async def resume(http: Http, bot_id: str, chat_id: str) -> dict[str, Any]:
    return dict(await http.json("GET", f"/bots/{segment(bot_id)}/chats/{segment(chat_id)}", params={"turns": 1}))


async def ask(http: Http, chat: dict[str, Any], message: dict[str, Any]) -> dict[str, Any]:
    """With a ``message_id`` it is safe to repeat."""
    path = f"/bots/{segment(chat['bot_id'])}/chats/{segment(chat['id'])}/turns"
    return dict(await http.json("POST", path, json=message))


async def cancel(http: Http, turn_id: str) -> bool:
    """False where it had ended by itself."""
    try:
        await http.json("POST", f"/turns/{segment(turn_id)}/cancel")
    except Refused:
        return False
    return True


async def follow(http: Http, turn_id: str, *, on_loss: Callable[[ApiError], None]) -> AsyncIterator[Told]:
    """Until the turn has ended; a connection that is lost is taken up where it was lost."""
    position: str | None = None
    losses = 0
    while True:
        lost: ApiError = Unreachable("the gateway ended the stream of the answer")
        try:
            headers = {"Accept": "text/event-stream", "Cache-Control": "no-store"}
            if position is not None:
                headers["Last-Event-ID"] = position
            path = f"/turns/{segment(turn_id)}/events"
            async with http.stream("GET", path, headers=headers, timeout=READ_TIMEOUT) as response:
                async for message in EventSource(response).aiter_sse():
                    if not message.data:  # the time after which to come back
                        continue
                    position, losses = message.id or position, 0
                    told = _told(message.data)
                    yield told
                    if told.kind in ENDS:
                        return
        except ApiError as err:
            lost = err
        if not may_pass(lost):
            raise lost
        losses += 1
        on_loss(lost)
        await asyncio.sleep(AGAIN.delay(losses, lost))


def _told(data: str) -> Told:
    try:
        body = json.loads(data)
        return Told(str(body["type"]), body)
    except (ValueError, KeyError, TypeError) as err:
        message = f"an event cannot be read: {err}"
        raise NotAGateway(message, hint="check the address (--url)") from err
