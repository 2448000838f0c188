"""Agent and gateway meet at ``AgentMessageQueue``: what is put at one end, and nothing else, reaches clients at the other."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import pytest

from aperag_agent.live.publisher import TurnPublisher
from aperag_agent.live.sender import Sender
from aperag_api.conversation.live.relays import TurnRelays
from aperag_common.live.queue import AgentMessageQueue, Message
from aperag_testing.fake_agent import REFERENCE
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_common.bus.connection import Bus
    from aperag_testing.fake_agent import FakeAgent

Person = Any
OPENAI = "http://gateway/v1/chat/completions"
TOLD: list[Message] = [
    {"type": "start", "data": {}},
    {"type": "message", "data": {"text": "Three minutes."}},
    {"type": "references", "data": {"items": [REFERENCE]}},
    {"type": "stop", "data": {"outcome": "answered", "usage": {}, "references": [REFERENCE]}},
]


class Played(AgentMessageQueue):
    """A reading end that a test fills; ``made`` counts how many a gateway has opened."""

    made = 0

    def __init__(self) -> None:
        type(self).made += 1
        self._left = [{**message, "id": f"7-{number}", "timestamp": 1.5} for number, message in enumerate(TOLD)]
        self._closed = False

    async def get(self) -> Any:
        self._closed = not self._left
        return self._left.pop(0) if self._left else None

    async def close(self) -> None:
        self._closed = True

    def is_closed(self) -> bool:
        return self._closed

    def qsize(self) -> int:
        return len(self._left)


@pytest.fixture
def played(monkeypatch: pytest.MonkeyPatch) -> type[Played]:
    """Every reader of the gateway gets one; no agent and no message bus takes part."""

    @asynccontextmanager
    async def subscribe(*_: Any, **__: Any) -> AsyncIterator[AgentMessageQueue]:
        yield Played()

    monkeypatch.setattr(TurnRelays, "subscribe", subscribe)
    monkeypatch.setattr(Played, "made", 0)
    return Played


async def bot_of(person: Person) -> str:
    return str((await person.http.post("/bots", json={"title": "Tea", "type": "agent"})).json()["id"])


async def asked(person: Person, bot: str) -> str:
    chat = (await person.http.post(f"/bots/{bot}/chats", json={})).json()["id"]
    answer = await person.http.post(f"/bots/{bot}/chats/{chat}/turns", json={"query": "How long?", "collections": []})
    return str(answer.json()["id"])


def frames_of(body: str) -> list[tuple[str, dict[str, Any]]]:
    """(id, message) of each server-sent event."""
    blocks = [dict(line.split(": ", 1) for line in block.splitlines()) for block in body.split("\n\n")]
    return [(block.get("id", ""), json.loads(block["data"])) for block in blocks if "{" in block.get("data", "")]


async def test_server_sent_events_are_the_messages_of_the_queue(alice: Person, played: type[Played]) -> None:
    turn = await asked(alice, await bot_of(alice))
    frames = frames_of((await alice.http.get(f"/turns/{turn}/events")).text)
    assert [(name, it["type"]) for name, it in frames] == [
        ("7-0", "start"),
        ("7-1", "message"),
        ("7-2", "references"),
        ("7-3", "stop"),
    ]
    assert (frames[1][1]["data"], frames[1][1]["timestamp"], frames[3][1]["data"]) == (
        "Three minutes.",
        1.5,
        [REFERENCE],
    )
    assert played.made == 1


async def test_a_snapshot_is_what_the_queue_has_given_so_far(
    alice: Person, played: type[Played], agent: FakeAgent
) -> None:
    turn = await asked(alice, await bot_of(alice))
    async with agent.holding(turn):
        snapshot = (await alice.http.get(f"/turns/{turn}/snapshot")).json()
    assert (snapshot["state"], snapshot["last_event_id"], played.made) == ("running", "7-3", 1)
    assert [(it["part_id"], it["type"]) for it in snapshot["parts"]] == [("7-1", "message"), ("7-2", "references")]


async def test_openais_clients_read_the_messages_of_the_queue(alice: Person, played: type[Played]) -> None:
    body = {"model": await bot_of(alice), "stream": True, "messages": [{"role": "user", "content": "How long?"}]}
    chunks = [it for _, it in frames_of((await alice.http.post(OPENAI, json=body)).text)]
    assert "".join(it["choices"][0]["delta"].get("content", "") for it in chunks) == "Three minutes."
    assert (chunks[-1]["references"], played.made) == ([REFERENCE], 1)


async def test_what_an_agent_puts_into_its_queue_is_what_a_client_reads(alice: Person, bus: Bus) -> None:
    """The agent is nothing but a writing end: no row is claimed, and none is finished."""
    turn = await asked(alice, await bot_of(alice))
    publisher = TurnPublisher(Sender(bus.nc), turn, 1)
    queue: AgentMessageQueue = publisher
    async with publisher:
        reading = asyncio.create_task(alice.http.get(f"/turns/{turn}/events"))
        await queue.put({"type": "message", "data": {"text": "Three "}})
        await queue.put({"type": "message", "data": {"text": "minutes."}})
        await queue.put({"type": "references", "data": {"items": [REFERENCE]}})
        await queue.put({"type": "stop", "data": {"outcome": "answered", "usage": {}}})
        assert queue.is_closed()

        async def read() -> bool:
            return reading.done()

        await until(read)
    frames = [it for _, it in frames_of(reading.result().text)]
    assert "".join(it["data"] for it in frames if it["type"] == "message") == "Three minutes."
    assert [it["type"] for it in frames if it["type"] != "message"] == ["start", "references", "stop"]
    assert frames[-1]["data"] == [REFERENCE]
