"""One small call to a model, to see whether it answers."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from aperag_console.chats.answer import TERMINAL
from aperag_console.gateway.failures import GatewayFailure

if TYPE_CHECKING:
    from aperag_console.gateway.client import Api

QUESTION = "Reply with the word OK."


async def try_model(api: Api, provider: str, kind: str, model: str) -> None:
    """Raises ``GatewayFailure`` with what the provider or the gateway said."""
    named = {"provider": provider, "model": model}
    if kind == "embedding":
        await api.post("embeddings", body={**named, "input": "test"})
    elif kind == "rerank":
        await api.post("rerank", body={**named, "query": "test", "documents": ["a test", "something else"], "top_k": 1})
    else:
        await _ask(api, {"model": model, "model_service_provider": provider})


async def _ask(api: Api, completion: dict[str, str]) -> None:
    """The gateway calls completion models within turns only: this one's chat is gone afterwards."""
    bot = next((it for it in (await api.get("bots"))["items"] if it["type"] == "agent"), None)
    if bot is None:
        raise GatewayFailure("chats.no_bot")
    chat = await api.post("bots", bot["id"], "chats", body={"title": QUESTION})
    path = ("bots", bot["id"], "chats", chat["id"])
    try:
        turn = await api.post(*path, "turns", body={"query": QUESTION, "completion": completion})
        async with api.stream("turns", turn["id"], "events") as told:
            async for line in told.aiter_lines():
                frame = json.loads(line[5:]) if line.startswith("data:") else {}
                if frame.get("type") == "error":
                    raise GatewayFailure(frame["data"], status=502)
                if frame.get("type") in TERMINAL:
                    return
    finally:
        await api.delete(*path)
