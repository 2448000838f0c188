"""A turn of a real agent, read by nothing but ``AgentMessageQueue.get``."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aperag_api.conversation.live.relays import TurnRelays
from aperag_common.bus.connection import connect
from aperag_common.live.events import Cursor
from aperag_common.settings import NatsSettings
from aperag_testing.provider import Call, Reply

if TYPE_CHECKING:
    from aperag_api.conversation.live.stored import StoredTurn
    from aperag_common.live.queue import AgentMessageQueue, Message
    from aperag_testing.conversation import Talk
    from aperag_testing.provider import Provider
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)


async def no_row(_: str) -> StoredTurn | None:
    message = "this reader has no database"
    raise OSError(message)


async def rest(queue: AgentMessageQueue) -> list[Message]:
    told: list[Message] = []
    async with asyncio.timeout(60):
        while (message := await queue.get()) is not None:
            told.append(message)
    assert [await queue.get(), queue.is_closed(), queue.qsize()] == [None, True, 0]
    return told


async def test_an_agents_whole_turn_comes_out_of_the_queue(talk: Talk, provider: Provider, stack: Stack) -> None:
    gate = asyncio.Event()
    provider.replies += [
        Reply(calls=[Call("list_collections")]),
        Reply(["Green ", "tea."], thinking=["Let me see."], gate=gate),
    ]
    settings = NatsSettings(url=stack.state()["nats_url"], seed_file=stack.home / "secrets" / "api.nk")
    bus = await connect(settings, service="api", instance="tests")
    relays = TurnRelays(bus.nc, no_row)
    try:
        turn_id = await talk.ask("What is it?")
        async with relays.subscribe(turn_id) as queue:
            first = await queue.get()
            assert first is not None
            assert first["type"] == "start"
            gate.set()
            told = await rest(queue)
            async with relays.subscribe(turn_id, Cursor.parse(told[0]["id"])) as late:
                assert _shown(await rest(late)) == _shown(told[1:])  # another reader, which resumes
    finally:
        await relays.close()
        await bus.close()
    assert [kind for kind, _ in _shown(told)] == ["tool_call", "tool_call_result", "thinking", "message", "stop"]
    assert (told[0]["data"]["tool"], told[1]["data"]["failed"]) == ("list_collections", False)
    assert _shown(told)[2:4] == [("thinking", "Let me see."), ("message", "Green tea.")]
    assert (told[-1]["data"]["outcome"], told[-1]["data"]["references"]) == ("answered", [])
    assert (await talk.turn(turn_id))["answer"] == "Green tea."


def _shown(messages: list[Message]) -> list[tuple[str, Any]]:
    """Type and text; pieces of one text are one, however many came."""
    shown: list[tuple[str, Any]] = []
    for message in messages:
        kind, text = message["type"], message["data"].get("text")
        if kind in {"message", "thinking"} and shown and shown[-1][0] == kind:
            shown[-1] = kind, shown[-1][1] + text
        else:
            shown.append((kind, text))
    return shown
