"""Chats of one API key over one or more gateways, as a program uses them."""

from __future__ import annotations

import asyncio
import json
import secrets
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
from httpx_sse import aconnect_sse

from aperag_testing.client import Client
from aperag_testing.provider import KEY
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aperag_testing.provider import Provider

MODEL = "scripted"
WITHIN = 60.0


@dataclass(frozen=True, slots=True)
class Frame:
    id: str
    body: dict[str, Any]

    @property
    def kind(self) -> str:
        return str(self.body["type"])


@dataclass(slots=True)
class Reading:
    """What one reader was told, in order."""

    frames: list[Frame] = field(default_factory=list)

    @property
    def kinds(self) -> list[str]:
        """Without repetitions beside each other."""
        kinds = [frame.kind for frame in self.frames]
        return [kind for at, kind in enumerate(kinds) if at == 0 or kinds[at - 1] != kind]

    @property
    def text(self) -> str:
        """A ``start`` begins it anew."""
        text = ""
        for frame in self.frames:
            if frame.kind == "start":
                text = ""
            elif frame.kind == "message":
                text += frame.body["data"]
        return text

    @property
    def ends(self) -> list[dict[str, Any]]:
        return [frame.body for frame in self.frames if frame.kind in {"stop", "error"}]

    def of(self, kind: str) -> list[dict[str, Any]]:
        return [frame.body for frame in self.frames if frame.kind == kind]


@dataclass(slots=True)
class Talk:
    """``client`` is of the gateway that is asked; ``provider`` names the provider that answers, None the built-in."""

    client: Client
    bot: str
    chat: str
    provider: str | None = None

    @classmethod
    async def begin(cls, client: Client, provider: str | None = None) -> Talk:
        bots = (await client.json("GET", "/bots"))["items"]
        bot = next(it["id"] for it in bots if it["type"] == "agent")
        chat = await client.json("POST", f"/bots/{bot}/chats", json={"title": "tests"})
        return cls(client, bot, chat["id"], provider)

    async def ask(self, query: str, **message: Any) -> str:
        """The turn's id."""
        completion = {"model_service_provider": self.provider, "model": MODEL} if self.provider else None
        body = {"query": query, "collections": [], "completion": completion, **message}
        made = await self.client.json("POST", f"/bots/{self.bot}/chats/{self.chat}/turns", json=body, expect=202)
        return str(made["id"])

    async def answered(self, query: str, **message: Any) -> tuple[dict[str, Any], Reading]:
        """The turn as it ended, and what a reader of it was told."""
        turn = await self.ask(query, **message)
        reading = await followed(self.client, turn)
        return await self.turn(turn), reading

    async def turn(self, turn_id: str) -> dict[str, Any]:
        return await self.client.json("GET", f"/turns/{turn_id}")

    async def ended(self, turn_id: str) -> dict[str, Any]:
        async def look() -> dict[str, Any]:
            turn = await self.turn(turn_id)
            return turn if turn["ended_at"] is not None else {}

        return await until(look, within=WITHIN)

    async def history(self) -> list[list[dict[str, Any]]]:
        found = await self.client.json("GET", f"/bots/{self.bot}/chats/{self.chat}")
        return list(found["history"])


async def frames(client: Client, turn_id: str, after: str | None = None) -> AsyncGenerator[Frame, None]:
    """Of one connection; raises what httpx raises where that breaks."""
    headers = {"Last-Event-ID": after} if after else {}
    async with aconnect_sse(client.http, "GET", f"/turns/{turn_id}/events", headers=headers) as source:
        source.response.raise_for_status()
        async for message in source.aiter_sse():
            if message.data:  # not the time after which to come back, which is no event
                yield Frame(message.id, json.loads(message.data))


async def followed(client: Client, turn_id: str, reading: Reading | None = None, *, within: float = WITHIN) -> Reading:
    """Until its end; a connection that breaks is taken up where it broke."""
    reading = reading or Reading()
    async with asyncio.timeout(within):
        while not reading.ends:
            after = reading.frames[-1].id if reading.frames else None
            try:
                async with aclosing(frames(client, turn_id, after)) as told:
                    async for frame in told:
                        reading.frames.append(frame)
            except httpx.HTTPError:
                await asyncio.sleep(0.1)
    return reading


async def offer(client: Client, provider: Provider, *, key: str = KEY) -> str:
    """The name of a provider of the client's own, made for ``provider``, with one completion model."""
    name = f"stub-{secrets.token_hex(4)}"
    body = {"name": name, "label": name, "base_url": provider.url, "api_key": key}
    await client.json("POST", "/llm_providers", json=body)
    await client.json("POST", f"/llm_providers/{name}/models", json={"api": "completion", "model": MODEL})
    return name
