"""Processes that die in the middle of a turn: every reader is told one end, and the stored turn is whole."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from aperag_testing.conversation import Reading, Talk, followed, frames
from aperag_testing.provider import Call, Reply
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.client import Client
    from aperag_testing.provider import Provider
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(240)

WITHIN = 120.0


async def holder_of(talk: Talk, turn_id: str) -> str:
    """The name of the agent that runs it."""

    async def look() -> str | None:
        worker = (await talk.turn(turn_id))["worker"]
        return None if worker is None else str(worker)

    return await until(look)


async def begun(talk: Talk, provider: Provider, turn_id: str, text_: str) -> None:
    """Waits until a reader of its own has seen ``text_``."""
    reading = Reading()
    async with aclosing(frames(talk.client, turn_id)) as told:
        async for frame in told:
            reading.frames.append(frame)
            if reading.text == text_ and frame.kind == "message":
                return


async def test_a_turn_whose_agent_is_killed_is_run_again_by_another(
    stack: Stack, talk: Talk, provider: Provider, other_gateway: Client
) -> None:
    gate = asyncio.Event()
    provider.replies += [Reply(["old ", "words ", "never"], gate=gate), Reply(["new ", "words"])]
    turn_id = await talk.ask("Words?")
    readers = [
        asyncio.create_task(followed(client, turn_id, within=WITHIN)) for client in (talk.client, other_gateway) * 2
    ]
    await begun(talk, provider, turn_id, "old words ")
    stack.kill(await holder_of(talk, turn_id))
    for reading in await asyncio.gather(*readers):
        assert [it["type"] for it in reading.ends] == ["stop"]
        assert reading.text == "new words"
        assert len(reading.of("start")) == 2
    turn = await talk.turn(turn_id)
    assert (turn["state"], turn["answer"], turn["attempt"]) == ("answered", "new words", 2)
    gate.set()


async def test_a_turn_that_kills_its_agents_ends_with_an_error(
    stack: Stack, talk: Talk, provider: Provider, rows: AsyncEngine
) -> None:
    gate = asyncio.Event()
    provider.decide = lambda _: Reply(["poison ", "never"], gate=gate)
    turn_id = await talk.ask("Poison?")
    reader = asyncio.create_task(followed(talk.client, turn_id, within=WITHIN))
    for run in (1, 2):
        await until(lambda run=run: _attempt(talk, turn_id, run), within=WITHIN)
        await begun(talk, provider, turn_id, "poison ")
        stack.kill(await holder_of(talk, turn_id))
    reading = await reader
    assert [it["type"] for it in reading.ends] == ["error"]
    turn = await talk.turn(turn_id)
    assert (turn["state"], turn["error"]["code"]) == ("failed", "WORKER_LOST"), turn
    async with rows.connect() as conn:
        letters = await conn.execute(
            text("SELECT count(*) FROM dead_letter l JOIN job j ON j.id = l.row_id WHERE j.subject_id = :id"),
            {"id": turn_id},
        )
        assert letters.scalar_one() == 1
    gate.set()


async def _attempt(talk: Talk, turn_id: str, run: int) -> bool:
    return bool((await talk.turn(turn_id))["attempt"] == run)


async def test_readers_of_a_gateway_that_is_killed_go_on_at_any_other(
    stack: Stack, talk: Talk, provider: Provider, other_gateway: Client
) -> None:
    gate = asyncio.Event()
    provider.replies.append(Reply(["one ", "two ", "three"], gate=gate))
    turn_id = await talk.ask("Count.")
    reading = Reading()
    await begun(talk, provider, turn_id, "one two ")
    reader = asyncio.create_task(followed(talk.client, turn_id, reading, within=WITHIN))
    await until(lambda: _has(reading, "one two "))
    stack.kill("api")
    gate.set()
    elsewhere = await followed(other_gateway, turn_id, Reading(list(reading.frames)), within=WITHIN)
    assert (elsewhere.text, len(elsewhere.ends)) == ("one two three", 1)
    same = await reader
    assert (same.text, len(same.ends)) == ("one two three", 1)
    assert (await talk.ended(turn_id))["answer"] == "one two three"


async def _has(reading: Reading, wanted: str) -> bool:
    return reading.text == wanted


async def test_a_nats_server_that_is_killed_costs_no_reader_and_no_turn(
    stack: Stack, talk: Talk, provider: Provider, other_gateway: Client
) -> None:
    gate = asyncio.Event()
    provider.replies.append(Reply(["one ", "two ", "three"], gate=gate))
    turn_id = await talk.ask("Count.")
    readers = [asyncio.create_task(followed(client, turn_id, within=WITHIN)) for client in (talk.client, other_gateway)]
    await begun(talk, provider, turn_id, "one two ")
    stack.kill("nats")
    gate.set()
    for reading in await asyncio.gather(*readers):
        assert (reading.text, len(reading.ends)) == ("one two three", 1)
    turn = await talk.turn(turn_id)
    assert (turn["state"], turn["answer"]) == ("answered", "one two three")
    async with asyncio.timeout(WITHIN):
        provider.replies.append(Reply(["back"]))
        assert (await talk.answered("There?"))[0]["answer"] == "back"


async def test_a_turn_that_is_asked_for_while_no_agent_is_there_waits_for_one(
    stack: Stack, talk: Talk, provider: Provider
) -> None:
    provider.decide = lambda _: Reply(["late"])
    for name in ("agent", "agent-2"):
        stack.kill(name)
    turn, reading = await talk.answered("Anybody?")
    assert (turn["answer"], len(reading.ends)) == ("late", 1)


async def test_an_agent_that_stops_in_order_hands_its_turn_over(stack: Stack, talk: Talk, provider: Provider) -> None:
    gate = asyncio.Event()
    provider.replies += [Reply(["old ", "never"], gate=gate), Reply(["new"])]
    turn_id = await talk.ask("Words?")
    reader = asyncio.create_task(followed(talk.client, turn_id, within=WITHIN))
    await begun(talk, provider, turn_id, "old ")
    stack.stop(await holder_of(talk, turn_id))
    reading = await reader
    assert (reading.text, [it["type"] for it in reading.ends]) == ("new", ["stop"])
    gate.set()


async def test_tools_that_are_away_are_said_to_be(stack: Stack, talk: Talk, provider: Provider) -> None:
    provider.decide = lambda _: Reply(calls=[Call("list_collections")])
    stack.kill("mcp")
    turn, reading = await talk.answered("Anything?")
    assert len(reading.ends) == 1
    assert turn["error"]["code"] == "MCP_CONNECTION_ERROR", stack.log("agent")[-9000:] + stack.log("agent-2")[-9000:]
