"""The WebSocket of a chat: who may open one, what it resumes and stops, and when it ends; the agent is played by the test."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from sqlalchemy import text
from websockets.asyncio.client import connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from aperag_api.identity.accounts import repository as users
from aperag_api.identity.sessions.service import Visitor
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_testing.fake_agent import FakeAgent

Person = Any


@pytest_asyncio.fixture
async def path(alice: Person, served: httpx.AsyncClient) -> str:
    bot = (await alice.http.post("/bots", json={"title": "Tea"})).json()["id"]
    chat = (await alice.http.post(f"/bots/{bot}/chats", json={})).json()["id"]
    return f"/bots/{bot}/chats/{chat}"


@asynccontextmanager
async def opened(served: httpx.AsyncClient, path: str, query: str = "", **headers: str) -> AsyncIterator[Any]:
    url = str(served.base_url).rstrip("/").replace("http", "ws", 1) + f"{path}/connect{query}"
    shown = headers or {"authorization": served.headers["authorization"]}
    async with connect(url, additional_headers=shown, proxy=None) as socket:
        yield socket


async def refusal(served: httpx.AsyncClient, path: str, **headers: str) -> int:
    with pytest.raises(InvalidStatus) as refused:
        async with opened(served, path, **headers):
            pass
    return int(refused.value.response.status_code)


async def frames(socket: Any) -> list[dict[str, Any]]:
    told: list[dict[str, Any]] = []
    async with asyncio.timeout(30):
        while not told or told[-1]["type"] not in {"stop", "error"}:
            told.append(json.loads(await socket.recv()))
    return told


async def cookie_of(gateway: Gateway, engine: AsyncEngine, person: Person) -> str:
    async with engine.begin() as conn:
        user = await users.by_id(conn, person.id)
        assert user is not None
        token = await gateway.identity.sessions.open(conn, user, Visitor("127.0.0.1", "tests"))
    return f"session={token}"


async def test_it_opens_to_the_owner_of_the_chat_and_to_nobody_else(
    served: httpx.AsyncClient, path: str, alice: Person, mallory: Person, engine: AsyncEngine, gateway: Gateway
) -> None:
    cookie = await cookie_of(gateway, engine, alice)
    own = f"http://{served.base_url.netloc.decode()}"
    for headers in ({"authorization": f"Bearer {alice.key}"}, {"cookie": cookie}, {"cookie": cookie, "origin": own}):
        async with opened(served, path, **headers):
            pass
    assert await refusal(served, path, cookie=cookie, origin="https://elsewhere.example") == 403
    assert await refusal(served, path, authorization=f"Bearer {mallory.key}") == 403
    assert await refusal(served, path, authorization="Bearer sk-nobody") == 403
    read = (await alice.http.post("/apikeys", json={"scope": "read"})).json()["key"]
    assert await refusal(served, path, authorization=f"Bearer {read}") == 403
    some = (await alice.http.post("/apikeys", json={"collection_ids": [await alice.collection()]})).json()["key"]
    assert await refusal(served, path, authorization=f"Bearer {some}") == 403
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE users SET role = 'ro' WHERE id = :id"), {"id": alice.id})
    assert await refusal(served, path, authorization=f"Bearer {alice.key}") == 403


async def test_questions_are_answered_in_their_order_and_what_runs_is_told_to_whoever_asks_for_it(
    served: httpx.AsyncClient, path: str, alice: Person, agent: FakeAgent
) -> None:
    running = (await alice.http.post(f"{path}/turns", json={"query": "before", "message_id": "m0"})).json()["id"]
    async with opened(served, path, "?resume=true") as socket, opened(served, path) as other:
        async with agent.holding(running) as held:
            await held.say("Yes.")
            await held.end()
        assert {it["id"] for it in await frames(socket)} == {"m0"}
        for name in ("m1", "m2"):
            await other.send(json.dumps({"query": name, "message_id": name, "collections": []}))
        for name in ("m1", "m2"):
            turn = await begun(alice, path, name)
            await agent.answer(turn, name)
            told = await frames(other)
            assert {it["id"] for it in told} == {name}
            assert "".join(it["data"] for it in told if it["type"] == "message") == name


async def test_a_question_that_is_sent_again_after_a_reconnect_is_told_once(
    served: httpx.AsyncClient, path: str, alice: Person, agent: FakeAgent
) -> None:
    question = json.dumps({"query": "How long?", "message_id": "m1", "collections": []})
    async with opened(served, path) as socket:
        await socket.send(question)
        turn = await begun(alice, path, "m1")
        socket.transport.abort()
    async with opened(served, path) as socket:
        await socket.send(question)
        await socket.send("[]")
        assert json.loads(await socket.recv())["type"] == "error", "the question before it was taken"
        await agent.answer(turn, "Three ", "minutes.")
        told = await frames(socket)
        await socket.send("[]")
        assert json.loads(await socket.recv())["type"] == "error", "nothing is told after the end"
    assert "".join(it["data"] for it in told if it["type"] == "message") == "Three minutes."


async def test_what_waits_for_its_turn_can_be_cancelled_too(
    served: httpx.AsyncClient, path: str, alice: Person
) -> None:
    async with opened(served, path) as socket:
        for name in ("m1", "m2"):
            await socket.send(json.dumps({"query": name, "message_id": name, "collections": []}))
        await begun(alice, path, "m1")
        await socket.send(json.dumps({"type": "cancel"}))
        ended = [(await frames(socket))[-1], (await frames(socket))[-1]]
    assert [(it["type"], it["id"]) for it in ended] == [("stop", "m1"), ("stop", "m2")]


async def close_without_a_code(socket: Any) -> None:
    """As browsers do where a script names none."""
    async with socket.send_context():
        socket.protocol.send_close()


STOPPING: dict[str, Callable[[Any], Awaitable[None]]] = {
    "1000": lambda socket: socket.close(1000),
    "no code": close_without_a_code,
}


async def lose(socket: Any) -> None:
    socket.transport.abort()


LOSING: dict[str, Callable[[Any], Awaitable[None]]] = {"1001": lambda socket: socket.close(1001), "lost": lose}


@pytest.mark.parametrize("way", STOPPING)
async def test_a_client_that_closes_its_socket_normally_stops_what_it_asked(
    served: httpx.AsyncClient, path: str, alice: Person, agent: FakeAgent, way: str
) -> None:
    async with opened(served, path) as socket:
        for name in ("m1", "m2"):
            await socket.send(json.dumps({"query": name, "message_id": name, "collections": []}))
        turn = await begun(alice, path, "m1")
        async with agent.holding(turn) as held:
            await held.say("Yes")
            assert json.loads(await socket.recv())["type"] == "start"
            await STOPPING[way](socket)
            await until(partial(state_is, alice, turn, {"cancelling"}), within=30)
            await held.end(outcome="cancelled")
    assert await state_is(alice, turn, {"cancelled"})
    assert [group[0]["id"] for group in (await alice.http.get(path)).json()["history"]][-1] == "m1", "m2 was not asked"


@pytest.mark.parametrize("way", LOSING)
async def test_a_lost_connection_stops_nothing_and_replays_nothing_unasked(
    served: httpx.AsyncClient, path: str, alice: Person, agent: FakeAgent, way: str
) -> None:
    async with opened(served, path) as socket:
        await socket.send(json.dumps({"query": "m1", "message_id": "m1", "collections": []}))
        turn = await begun(alice, path, "m1")
        await LOSING[way](socket)
    async with agent.holding(turn) as held, opened(served, path) as again, opened(served, path, "?resume=1") as resumed:
        await held.say("Three minutes.")
        assert json.loads(await resumed.recv())["type"] == "start"
        assert await state_is(alice, turn, {"running"})
        await held.end()
        told = await frames(resumed)
        await again.send("[]")
        assert json.loads(await again.recv())["type"] == "error", "nothing was told before"
    assert "".join(it["data"] for it in told if it["type"] == "message") == "Three minutes."
    assert await state_is(alice, turn, {"answered"})


async def test_a_tab_that_is_closed_stops_nothing_that_another_asked(
    served: httpx.AsyncClient, path: str, alice: Person, agent: FakeAgent
) -> None:
    async with opened(served, path) as socket, opened(served, path) as other:
        await socket.send(json.dumps({"query": "m1", "message_id": "m1", "collections": []}))
        turn = await begun(alice, path, "m1")
        await other.close(1000)
        await agent.answer(turn, "Yes.")
        assert (await frames(socket))[-1]["type"] == "stop"
    assert await state_is(alice, turn, {"answered"})


async def state_is(alice: Person, turn: str, wanted: set[str]) -> bool:
    return (await alice.http.get(f"/turns/{turn}")).json()["state"] in wanted


async def begun(alice: Person, path: str, message_id: str) -> str:
    """The id of the turn, once it is there."""

    async def look() -> str:
        history = (await alice.http.get(path)).json()["history"]
        return next((turn[0]["part_id"].removesuffix("-q") for turn in history if turn[0]["id"] == message_id), "")

    return await until(look, within=30)


@pytest.mark.parametrize("settings", [{"event_heartbeat": "PT0.2S"}], indirect=True)
async def test_it_ends_with_the_key_that_it_was_opened_with(
    served: httpx.AsyncClient, path: str, alice: Person
) -> None:
    made = (await alice.http.post("/apikeys", json={})).json()
    async with opened(served, path, authorization=f"Bearer {made['key']}") as socket:
        await alice.http.delete(f"/apikeys/{made['id']}")
        async with asyncio.timeout(30):
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1008


async def test_a_frame_that_is_too_large_ends_the_connection_and_nothing_else(
    served: httpx.AsyncClient, path: str
) -> None:
    async with opened(served, path) as socket:
        await socket.send("x" * 1_000_000)
        async with asyncio.timeout(30):
            with pytest.raises(ConnectionClosed) as closed:
                await socket.recv()
    assert closed.value.rcvd is not None
    assert closed.value.rcvd.code == 1009
    async with opened(served, path) as socket:
        await socket.send("[]")
        assert (await frames(socket))[-1]["type"] == "error"


async def test_a_deleted_chats_files_are_gone_with_it(alice: Person, path: str, engine: AsyncEngine) -> None:
    chat = path.rpartition("/")[2]
    made = (await alice.http.post(f"/chats/{chat}/documents", files={"file": ("a.txt", b"tea")})).json()
    async with engine.connect() as conn:
        home = (await conn.execute(text("SELECT id FROM collection WHERE type = 'CHAT'"))).scalar_one()
    assert (await alice.http.get(f"/collections/{home}/documents/{made['id']}")).status_code == 200
    assert (await alice.http.delete(path)).status_code == 204
    assert (await alice.http.get(f"/collections/{home}/documents/{made['id']}")).status_code == 404
    second = (await alice.http.post(f"{path.rpartition('/')[0]}", json={})).json()["id"]
    kept = await alice.http.post(f"/chats/{second}/documents", files={"file": ("a.txt", b"tea")})
    assert kept.status_code == 200
    assert (await alice.http.delete(path.rpartition("/chats/")[0])).status_code == 204
    assert (await alice.http.get(f"/collections/{home}/documents/{kept.json()['id']}")).status_code == 404
