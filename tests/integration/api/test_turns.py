"""Turns from a client's side: begun, followed, resumed, cancelled; the agent is played by the test."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from httpx_sse import aconnect_sse
from sqlalchemy import text

from aperag_common.bus.delivery import Settled
from aperag_common.http.server import HttpServer
from aperag_common.live.events import TurnEventKind
from aperag_common.settings import HttpSettings
from aperag_testing.fake_agent import BROKEN, REFERENCE, FakeAgent
from aperag_testing.waiting import until
from aperag_work.completion import Completion

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus

Person = Any


@dataclass(slots=True)
class Chat:
    person: Person
    bot: str
    id: str

    @property
    def path(self) -> str:
        return f"/bots/{self.bot}/chats/{self.id}"

    async def ask(self, query: str = "How long?", **body: Any) -> httpx.Response:
        answer: httpx.Response = await self.person.http.post(
            f"{self.path}/turns", json={"query": query, "collections": [], **body}
        )
        return answer

    async def asked(self, query: str = "How long?", **body: Any) -> str:
        answer = await self.ask(query, **body)
        assert answer.status_code == 202, answer.text
        return str(answer.json()["id"])


async def open_chat(person: Person, **config: Any) -> Chat:
    bot = (await person.http.post("/bots", json={"title": "Tea", "type": "agent", "config": config})).json()
    chat = (await person.http.post(f"/bots/{bot['id']}/chats", json={"title": "Tea time"})).json()
    return Chat(person, bot["id"], chat["id"])


@pytest_asyncio.fixture
async def chat(alice: Person) -> Chat:
    return await open_chat(alice)


@asynccontextmanager
async def serving(app: FastAPI, person: Person) -> AsyncIterator[httpx.AsyncClient]:
    server = HttpServer(HttpSettings(port=0), app)
    await server.start()
    base = f"http://127.0.0.1:{server.port}/api/v1"
    async with httpx.AsyncClient(base_url=base, headers=person.http.headers, timeout=30, trust_env=False) as client:
        yield client
    await server.stop()


@dataclass(slots=True)
class Reader:
    """Follows a turn to its end; ``seen`` are (id, message)."""

    client: httpx.AsyncClient
    turn: str
    seen: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    task: asyncio.Task[None] | None = None

    @property
    def kinds(self) -> list[str]:
        return [message["type"] for _, message in self.seen]

    @property
    def text(self) -> str:
        """As a client shows it: a start begins anew."""
        shown = ""
        for _, message in self.seen:
            if message["type"] == "start":
                shown = ""
            elif message["type"] == "message":
                shown += message["data"]
        return shown

    async def read(self, last_id: str | None = None) -> None:
        headers = {} if last_id is None else {"last-event-id": last_id}
        async with (
            asyncio.timeout(60),
            aconnect_sse(self.client, "GET", f"/turns/{self.turn}/events", headers=headers) as source,
        ):
            async for event in source.aiter_sse():
                if event.data:
                    self.seen.append((event.id, json.loads(event.data)))

    def begin(self, last_id: str | None = None) -> Reader:
        self.task = asyncio.create_task(self.read(last_id))
        return self

    async def ended(self) -> Reader:
        assert self.task is not None
        await self.task
        return self

    async def has_text(self, wanted: str) -> None:
        async def there() -> bool:
            return self.text == wanted

        await until(there, within=30)


async def test_an_answer_arrives_word_by_word_and_ends_once(
    app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent
) -> None:
    turn = await chat.asked(message_id="m1")
    async with serving(app, alice) as client:
        reader = Reader(client, turn).begin()
        async with agent.holding(turn) as held:
            await held.say("Three ")
            await reader.has_text("Three ")
            await held.told.put(
                {
                    "type": TurnEventKind.TOOL_CALL,
                    "data": {"call_id": "c", "tool": "search_collection", "arguments": {}},
                }
            )
            result = {"call_id": "c", "tool": "search_collection", "text": "Found 1", "failed": False}
            await held.told.put({"type": TurnEventKind.TOOL_CALL_RESULT, "data": result})
            await held.say("minutes.")
            await held.told.put({"type": TurnEventKind.REFERENCES, "data": {"items": [REFERENCE]}})
            await held.end()
        await reader.ended()
    assert reader.kinds == ["start", "message", "tool_call", "tool_call_result", "message", "references", "stop"]
    assert reader.text == "Three minutes."
    assert {message["id"] for _, message in reader.seen} == {"m1"}
    assert all(isinstance(message["timestamp"], float) for _, message in reader.seen)
    stop = reader.seen[-1][1]
    assert (stop["data"], stop["outcome"], stop["usage"]) == ([REFERENCE], "answered", {"requests": 1})
    ended = (await alice.http.get(f"/turns/{turn}")).json()
    assert (ended["state"], ended["answer"], ended["attempt"]) == ("answered", "Three minutes.", 1)


async def test_who_comes_late_or_after_the_end_is_told_all_of_it(
    app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent
) -> None:
    turn = await chat.asked()
    async with serving(app, alice) as client:
        async with agent.holding(turn) as held:
            await held.say("Three ")
            late = Reader(client, turn).begin()
            await late.has_text("Three ")
            await held.say("minutes.")
            await held.end()
        await late.ended()
        after = await Reader(client, turn).begin().ended()
    assert (late.text, late.kinds.count("stop")) == ("Three minutes.", 1)
    assert (after.text, after.kinds) == ("Three minutes.", ["start", "message", "stop"])


async def test_a_reader_that_comes_back_goes_on_where_it_was(
    app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent, make_replica: Callable[..., Awaitable[FastAPI]]
) -> None:
    turn = await chat.asked()
    async with serving(app, alice) as client, serving(await make_replica(), alice) as elsewhere:
        async with agent.holding(turn) as held:
            first = Reader(client, turn).begin()
            await held.say("Three ")
            await first.has_text("Three ")
            assert first.task is not None
            first.task.cancel()
            await held.say("whole ")
            again = Reader(elsewhere, turn).begin(first.seen[-1][0])
            await again.has_text("whole ")
            await held.say("minutes.")
            await held.end()
        await again.ended()
        assert (again.text, "start" in again.kinds, again.kinds[-1]) == ("whole minutes.", False, "stop")
        # The row numbers its parts anew, so of a live position only the whole text is right.
        late = await Reader(elsewhere, turn).begin(first.seen[-1][0]).ended()
        assert (late.text, late.kinds[0]) == ("Three whole minutes.", "start")
        at_end = await Reader(elsewhere, turn).begin(late.seen[-1][0]).ended()
        assert at_end.seen == []


async def test_when_an_agent_dies_the_next_run_begins_the_text_anew(
    app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent, engine: AsyncEngine
) -> None:
    turn = await chat.asked()
    async with serving(app, alice) as client:
        reader = Reader(client, turn).begin()
        with pytest.raises(Settled):
            async with agent.holding(turn) as dead:
                await dead.say("Thr")
                await reader.has_text("Thr")
                async with engine.begin() as conn:
                    await conn.execute(text("UPDATE job SET lease_until = clock_timestamp() - interval '1 s'"))
                async with agent.holding(turn) as held:
                    await held.say("Three minutes.")
                    await reader.has_text("Three minutes.")
                    await dead.say("ee hours?")  # a zombie's words
                    await held.end()
                await dead.end()
        await reader.ended()
    assert (reader.text, reader.kinds.count("start"), reader.kinds.count("stop")) == ("Three minutes.", 2, 1)
    assert (await alice.http.get(f"/turns/{turn}")).json()["attempt"] == 2


async def test_a_turn_that_ended_unheard_is_told_from_its_row(
    app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent, engine: AsyncEngine
) -> None:
    turn = await chat.asked()
    async with serving(app, alice) as client:
        reader = Reader(client, turn).begin()
        async with agent.holding(turn) as held:
            await held.say("Three ")
            await reader.has_text("Three ")
            parts = [{"part_id": "1", "type": "message", "data": {"text": "Three minutes."}, "timestamp": 1.0}]
            held.ended.set_result(Completion(("Three minutes.", json.dumps(parts), "answered")))
            await held.attempt
        await reader.ended()
    assert (reader.text, reader.kinds) == ("Three minutes.", ["start", "message", "message", "stop"])


async def test_a_turn_that_fails_says_why(app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent) -> None:
    turn = await chat.asked()
    async with serving(app, alice) as client:
        reader = Reader(client, turn).begin()
        async with agent.holding(turn) as held:
            await held.say("Well")
            await held.end(TurnEventKind.ERROR, "failed")
        await reader.ended()
        after = await Reader(client, turn).begin().ended()
    for seen in (reader, after):
        assert seen.kinds == ["start", "message", "error"]
        assert (seen.seen[-1][1]["data"], seen.seen[-1][1]["code"]) == (BROKEN["message"], BROKEN["code"])
    ended = (await alice.http.get(f"/turns/{turn}")).json()
    assert (ended["state"], ended["error"]) == ("failed", BROKEN)


async def test_a_turn_in_the_queue_is_cancelled_at_once(
    app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent
) -> None:
    turn = await chat.asked()
    async with serving(app, alice) as client:
        reader = Reader(client, turn).begin()
        assert (await alice.http.get(f"/turns/{turn}")).json()["state"] == "queued"
        assert (await alice.http.post(f"/turns/{turn}/cancel")).json()["state"] == "cancelled"
        await reader.ended()
    assert (reader.kinds[-1], reader.seen[-1][1]["outcome"]) == ("stop", "cancelled")
    with pytest.raises(Settled):
        async with agent.holding(turn):
            pass
    again = await alice.http.post(f"/turns/{turn}/cancel")
    assert (again.status_code, again.json()["details"]) == (409, {"state": "cancelled"})


async def test_a_turn_whose_agent_is_lost_is_cancelled_at_once_and_the_lost_one_writes_nothing(
    alice: Person, chat: Chat, agent: FakeAgent, engine: AsyncEngine
) -> None:
    turn = await chat.asked()
    with pytest.raises(Settled):
        async with agent.holding(turn) as lost:
            async with engine.begin() as conn:
                await conn.execute(text("UPDATE job SET lease_until = clock_timestamp() - interval '1 s'"))
            assert (await alice.http.post(f"/turns/{turn}/cancel")).json()["state"] == "cancelled"
            await lost.end()
    ended = (await alice.http.get(f"/turns/{turn}")).json()
    assert (ended["state"], ended["answer"], ended["ended_at"] is not None) == ("cancelled", None, True)
    query = "SELECT status, generation, observed_generation, lease_token, due_at = 'infinity' FROM job"
    async with engine.connect() as conn:
        assert tuple((await conn.execute(text(query))).one()) == ("ACTIVE", 2, 2, None, True)


async def test_a_running_turn_is_ended_by_its_agent_with_what_there_is(
    app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent, bus: Bus
) -> None:
    turn = await chat.asked()
    told: asyncio.Queue[bytes] = asyncio.Queue()

    async def hear(message: Any) -> None:
        await told.put(message.data)

    await bus.nc.subscribe(f"aperag.live.turn.{turn}.cancel", cb=hear)
    async with serving(app, alice) as client:
        reader = Reader(client, turn).begin()
        async with agent.holding(turn) as held:
            await held.say("Three ")
            await reader.has_text("Three ")
            assert (await alice.http.post(f"/turns/{turn}/cancel")).json()["state"] == "cancelling"
            await asyncio.wait_for(told.get(), 30)
            await held.end(outcome="cancelled")
        await reader.ended()
    assert (reader.text, reader.seen[-1][1]["outcome"]) == ("Three ", "cancelled")
    ended = (await alice.http.get(f"/turns/{turn}")).json()
    assert (ended["state"], ended["answer"]) == ("cancelled", "Three ")


async def test_a_snapshot_tells_what_has_happened_so_far(alice: Person, chat: Chat, agent: FakeAgent) -> None:
    turn = await chat.asked()
    waiting = (await alice.http.get(f"/turns/{turn}/snapshot")).json()
    assert (waiting["state"], waiting["parts"]) == ("queued", [])
    async with agent.holding(turn) as held:
        await held.say("Three ")
        await held.told.put({"type": TurnEventKind.REFERENCES, "data": {"items": [REFERENCE]}})
        running = (await alice.http.get(f"/turns/{turn}/snapshot")).json()
        assert [part["type"] for part in running["parts"]] == ["message", "references"]
        assert (running["state"], running["last_event_id"]) == ("running", "1-2")
        await held.end()
    ended = (await alice.http.get(f"/turns/{turn}/snapshot")).json()
    assert (ended["state"], len(ended["parts"])) == ("answered", 2)


async def test_the_same_message_is_the_same_turn(chat: Chat) -> None:
    first, again, other = [await chat.ask(query, message_id="m1") for query in ("How long?", "How long?", "How hot?")]
    assert (first.status_code, again.json()["id"], other.status_code) == (202, first.json()["id"], 409)


@pytest.mark.parametrize("settings", [{"turns": {"max_open": 2}}], indirect=True)
async def test_one_person_has_a_share_of_the_agents(chat: Chat, mallory: Person, agent: FakeAgent) -> None:
    first, _ = await chat.asked(), await chat.asked()
    refused = await chat.ask()
    assert (refused.status_code, refused.headers["retry-after"]) == (429, "5")
    await (await open_chat(mallory)).asked()
    await agent.answer(first, "Three minutes.")
    await chat.asked()


async def test_the_history_is_made_of_the_turns_and_has_pages(alice: Person, chat: Chat, agent: FakeAgent) -> None:
    for number in range(3):
        await agent.answer(await chat.asked(f"question {number}", message_id=f"m{number}"), f"answer {number}")
    whole = (await alice.http.get(chat.path)).json()
    assert [[message["data"] for message in group] for group in whole["history"]] == [
        group for number in range(3) for group in ([f"question {number}"], [f"answer {number}", ""])
    ]
    question, answer = whole["history"][:2]
    assert ({it["role"] for it in question}, {it["role"] for it in answer}) == ({"human"}, {"ai"})
    assert [it["references"] for it in (*question, *answer)] == [None, None, [REFERENCE]]
    assert {message["id"] for group in whole["history"][2:4] for message in group} == {"m1"}
    newest = (await alice.http.get(chat.path, params={"turns": 2})).json()
    assert ([group[0]["data"] for group in newest["history"]][::2], newest["before"]) == (
        ["question 1", "question 2"],
        1,
    )
    rest = (await alice.http.get(chat.path, params={"turns": 2, "before": newest["before"]})).json()
    assert ([group[0]["data"] for group in rest["history"]][::2], rest["before"]) == (["question 0"], None)


async def test_each_part_of_an_answer_bears_its_feedback_and_a_tools_result_begins_with_its_title(
    alice: Person, chat: Chat, agent: FakeAgent
) -> None:
    turn = await chat.asked("How long?", message_id="m1")
    failed = {"call_id": "c", "tool": "web_read", "title": "Web pages", "text": "refused", "failed": True}
    searched = {"call_id": "d", "tool": "search_collection", "title": "Search", "text": "Found 1", "failed": False}
    assert len((await alice.http.get(chat.path)).json()["history"]) == 1, "no answer yet, so no group of it"
    async with agent.holding(turn) as held:
        for result in (failed, searched):
            await held.told.put({"type": "tool_call_result", "data": result})
        await held.say("Three minutes.")
        await held.told.put({"type": "references", "data": {"items": []}})
        await held.end()
    rated = await alice.http.post(f"{chat.path}/messages/m1", json={"type": "bad", "tag": "Fake"})
    assert rated.status_code == 200
    [question], answer = (await alice.http.get(chat.path)).json()["history"]
    assert [(it["type"], it["data"], it["references"]) for it in answer] == [
        ("tool_call_result", "**Search**\n\nFound 1\n\n", None),
        ("message", "Three minutes.", None),
        ("references", "", None),
    ]
    assert question["feedback"] is None
    assert [it["feedback"]["type"] for it in answer] == ["bad"] * 3


async def test_an_agent_reads_with_the_credential_of_its_turn_while_it_holds_it_and_nothing_more(
    alice: Person, mallory: Person, agent: FakeAgent, engine: AsyncEngine
) -> None:
    chosen, other = await alice.collection(), await alice.collection()
    foreign = await mallory.collection()
    chat = await open_chat(alice)
    turn = await chat.asked(collections=[{"id": chosen, "title": "Tea"}])

    async def status(path: str, credential: str, method: str = "GET", **request: Any) -> int:
        headers = {"authorization": f"Bearer {credential}"}
        return int((await alice.http.request(method, path, headers=headers, **request)).status_code)

    async with agent.holding(turn) as held:
        mine = held.credential
        assert await status(f"/collections/{chosen}", mine) == 200
        assert await status(f"/collections/{chosen}/searches", mine, "POST", json={"query": "tea"}) == 200
        assert await status(f"/collections/{other}", mine) == 404
        assert await status(f"/collections/{foreign}", mine) == 404
        assert await status(f"/collections/{chosen}", mine, "DELETE") == 403
        assert await status("/apikeys", mine) == 403
        assert await status(f"/collections/{chosen}", mine[:-1] + "x") == 401
        assert await status(f"/collections/{chosen}", f"turn.{turn}.{held.job.token}") == 401
        async with engine.begin() as conn:
            await conn.execute(text("UPDATE job SET lease_until = clock_timestamp() - interval '1 s'"))
        assert await status(f"/collections/{chosen}", mine) == 401
    again = await chat.asked()
    async with agent.holding(again) as held:
        assert await status(f"/collections/{other}", held.credential) == 200
        key = (await alice.http.get("/apikeys")).json()["items"][0]["id"]
        async with engine.begin() as conn:
            await conn.execute(text("UPDATE api_key SET deleted_at = now() WHERE id = :id"), {"id": key})
        assert await status(f"/collections/{other}", held.credential) == 401


async def test_a_collection_that_is_not_theirs_is_not_asked_in(alice: Person, mallory: Person, chat: Chat) -> None:
    refused = await chat.ask(collections=[{"id": await mallory.collection()}])
    assert (refused.status_code, refused.json()["error_code"]) == (404, "COLLECTION_NOT_FOUND")


async def test_another_owners_chats_and_turns_are_not_there(alice: Person, mallory: Person, chat: Chat) -> None:
    turn = await chat.asked()
    http = mallory.http
    answers = [
        await http.post(f"{chat.path}/turns", json={"query": "?", "collections": []}),
        await http.get(chat.path),
        await http.put(chat.path, json={"title": "Mine"}),
        await http.get(f"/turns/{turn}"),
        await http.get(f"/turns/{turn}/events"),
        await http.get(f"/turns/{turn}/snapshot"),
        await http.post(f"/turns/{turn}/cancel"),
    ]
    assert {answer.status_code for answer in answers} == {404}
    assert (await http.delete(chat.path)).status_code == 204
    assert (await alice.http.get(f"/turns/{turn}")).status_code == 200


async def test_a_chat_that_is_deleted_ends_for_its_readers_and_its_agent(
    app: FastAPI, alice: Person, chat: Chat, agent: FakeAgent
) -> None:
    turn = await chat.asked()
    async with serving(app, alice) as client:
        reader = Reader(client, turn).begin()
        with pytest.raises(Settled):
            async with agent.holding(turn) as held:
                await held.say("Three ")
                await reader.has_text("Three ")
                assert (await alice.http.delete(chat.path)).status_code == 204
                await held.end()
        await reader.ended()
    assert (reader.kinds[-1], reader.seen[-1][1]["code"]) == ("error", "TURN_NOT_FOUND")
    assert (await alice.http.delete(chat.path)).status_code == 204


async def test_a_stream_that_nobody_reads_any_more_leaves_nothing(
    app: FastAPI, gateway: Any, alice: Person, chat: Chat, agent: FakeAgent
) -> None:
    turn = await chat.asked()
    async with serving(app, alice) as client:
        readers = [Reader(client, turn).begin() for _ in range(5)]
        async with agent.holding(turn) as held:
            await held.say("Three ")
            for reader in readers:
                await reader.has_text("Three ")
            for reader in readers[1:]:
                assert reader.task is not None
                reader.task.cancel()
            await held.end()
        await readers[0].ended()

        async def closed() -> bool:
            return all(
                relay.readers == 1 for relay in gateway.conversation.turns.relays._open.values()
            )  # who began it listens on

        await until(closed, within=30)
