"""Each route of bots, flows, chats and answers on a running stack: the shapes of the contract, 1.7 to 1.9."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from httpx_sse import aconnect_sse
from sqlalchemy import text
from tests.chat.description import Description

from aperag_testing.provider import Reply

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.client import Client
    from aperag_testing.conversation import Talk
    from aperag_testing.provider import Provider
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)

BOT = {"id", "title", "description", "type", "config", "created", "updated"}
CHAT = {"id", "title", "bot_id", "peer_type", "peer_id", "status", "created", "updated"}
MESSAGE = {"id", "part_id", "type", "timestamp", "role", "data", "references", "urls", "feedback", "files"}
PAGE = {"items", "total", "page", "page_size", "total_pages", "has_next", "has_prev"}
FLOW = {
    "name": "plain",
    "version": "1",
    "schema": {},
    "execution": {"timeout": 30},
    "nodes": [{"id": "start", "type": "start"}, {"id": "llm", "type": "llm"}],
    "edges": [{"source": "start", "target": "llm"}],
}


@pytest_asyncio.fixture
async def client(client: Client, stack: Stack) -> AsyncIterator[Client]:
    """Whose answers all keep to the gateway's own description."""
    described = Description((await client.http.get(f"{stack.url}/openapi.json")).json())
    client.http.event_hooks["response"].append(described.seen)
    yield client
    assert described.operations
    assert described.deviations == []


@pytest_asyncio.fixture
async def bot(client: Client) -> AsyncIterator[dict[str, Any]]:
    body = {"title": "Walked", "description": "d", "type": "common", "config": '{"agent": {"collections": []}}'}
    made = await client.json("POST", "/bots", json=body)
    yield made
    assert (await client.http.delete(f"/bots/{made['id']}")).status_code == 204


async def refused(client: Client, method: str, path: str, status: int, code: str | None, **request: Any) -> Any:
    answer = await client.http.request(method, path, **request)
    assert answer.status_code == status, answer.text
    body = answer.json()
    assert code is None or body["error_code"] == code, body
    return body


async def test_bots_and_flows(client: Client, bot: dict[str, Any]) -> None:
    path = f"/bots/{bot['id']}"
    assert set(bot) == BOT
    assert (bot["type"], bot["config"]) == ("common", '{"agent": {"collections": []}}')
    assert bot["id"].startswith("bot")
    assert bot["id"] in [it["id"] for it in (await client.json("GET", "/bots"))["items"]]
    assert await client.json("GET", path) == bot
    changed = await client.json("PUT", path, json={"id": bot["id"], "title": "Other"})
    assert (changed["title"], changed["description"]) == ("Other", "d")
    await refused(client, "PUT", path, 400, "INVALID_PARAMETER", json={"type": "agent"})
    assert await client.json("GET", f"{path}/flow") == {}
    await refused(client, "POST", f"{path}/flow/debug", 400, "FLOW_CONFIG_NOT_FOUND", json={"query": "x"})
    assert await client.json("PUT", f"{path}/flow", json=FLOW) == FLOW
    assert await client.json("GET", f"{path}/flow") == FLOW
    assert (await client.json("GET", path))["config"] == bot["config"]
    cycle = {**FLOW, "edges": [*FLOW["edges"], {"source": "llm", "target": "start"}]}
    wrong = await refused(client, "PUT", f"{path}/flow", 400, "BOT_CONFIG_INVALID", json=cycle)
    assert "cycle" in wrong["message"]
    typed = {**FLOW, "nodes": [FLOW["nodes"][0], {"id": "llm", "type": "python"}]}
    await refused(client, "PUT", f"{path}/flow", 400, "BOT_CONFIG_INVALID", json=typed)
    await refused(client, "PUT", f"{path}/flow", 422, None, json={"nodes": "none"})
    broken = {"prompt_template": "{% for x in %}"}
    templated = {
        **FLOW,
        "nodes": [FLOW["nodes"][0], {"id": "llm", "type": "llm", "data": {"input": {"values": broken}}}],
    }
    wrong = await refused(client, "PUT", f"{path}/flow", 400, "BOT_CONFIG_INVALID", json=templated)
    assert "is no template" in wrong["message"]
    assert await client.json("GET", f"{path}/flow") == FLOW
    config = {"agent": {}, "flow": FLOW}
    assert (await client.json("PUT", path, json={"config": config}))["config"] == config
    assert await client.json("GET", f"{path}/flow") == FLOW
    kept = await client.json("PUT", path, json={"config": {"agent": {}}})
    assert kept["config"] == config, "a config that says nothing of the flow leaves it"
    async with aconnect_sse(client.http, "POST", f"{path}/flow/debug", json={"query": "hello"}) as source:
        told = [it.json() async for it in source.aiter_sse()]
    kinds = [it["event_type"] for it in told]
    assert kinds[:2] == ["flow_start", "node_start"]
    assert kinds[kinds.index("flow_end") + 1 :] == ["output_chunk"] * (len(kinds) - kinds.index("flow_end") - 1)
    await refused(client, "GET", "/bots/bot0123456789abcdef/flow", 404, "BOT_NOT_FOUND")


async def test_chats_messages_and_titles(client: Client, talk: Talk, provider: Provider) -> None:
    chats = f"/bots/{talk.bot}/chats"
    made = await client.json("POST", chats)
    assert set(made) == CHAT
    assert (made["title"], made["status"], made["bot_id"]) == ("New Chat", "ACTIVE", talk.bot)
    page = await client.json("GET", chats, params={"page": 1, "page_size": 1})
    assert set(page) == PAGE
    assert [it["id"] for it in page["items"]] == [made["id"]], "the newest first"
    await refused(client, "GET", chats, 422, None, params={"page_size": 101})
    path = f"{chats}/{made['id']}"
    assert await client.json("GET", path) == {**made, "history": [], "before": None}
    assert (await client.json("PUT", path, json={"title": "Tea"}))["title"] == "Tea"
    untold = await refused(client, "POST", f"{path}/title", 400, None, json={})
    assert set(untold["detail"]) == {"error_code", "message"}
    provider.decide = lambda _: Reply(["At 75 degrees."])
    mine = type(talk)(client, talk.bot, made["id"], talk.provider)
    await mine.answered("How hot is green tea brewed in the morning?", message_id="m1")
    groups = await mine.history()
    turn = [it for group in groups for it in group]
    assert [[(it["role"], it["type"], it["id"]) for it in group] for group in groups] == [
        [("human", "message", "m1")],
        [("ai", "message", "m1")],
    ]
    assert all(set(it) == MESSAGE and isinstance(it["timestamp"], float) for it in turn)
    title = (await client.json("POST", f"{path}/title", json={"max_length": 12, "language": "en-US", "turns": 1}))[
        "title"
    ]
    assert 0 < len(title) <= 12
    assert (await client.json("GET", path))["title"] == title
    await refused(client, "POST", f"{path}/title", 422, None, json={"max_length": 5})
    rated = await client.json("POST", f"{path}/messages/m1", json={"type": "good"})
    assert rated == {"action": "upserted", "feedback": {"type": "good", "tag": None, "message": None}}
    assert (await mine.history())[1][0]["feedback"]["type"] == "good"
    taken = await client.json("POST", f"{path}/messages/m1", json={})
    assert taken == {"action": "deleted", "success": True}
    await refused(client, "POST", f"{path}/messages/lost", 404, "MESSAGE_NOT_FOUND", json={"type": "good"})
    await refused(client, "POST", f"{path}/messages/m1", 422, None, json={"type": "splendid"})
    for _ in range(2):
        assert (await client.http.delete(path)).status_code == 204
    await refused(client, "GET", path, 404, "CHAT_NOT_FOUND")


async def test_files_of_chats(client: Client, talk: Talk) -> None:
    path = f"/chats/{talk.chat}"
    upload = {"file": ("tea.txt", b"Oolong is half oxidised.")}
    made = await client.json("POST", f"{path}/documents", files=upload)
    assert {"id", "name", "status", "size", "vector_index_status", "fulltext_index_status", "created"} <= set(made)
    again = await client.json("POST", f"{path}/documents", files=upload)
    assert again["id"] == made["id"], "the same bytes are the same document"
    other = {"file": ("tea.txt", b"Other bytes.")}
    await refused(client, "POST", f"{path}/documents", 409, "DOCUMENT_NAME_CONFLICT", files=other)
    elsewhere = (await client.json("POST", f"/bots/{talk.bot}/chats"))["id"]
    second = await client.json("POST", f"/chats/{elsewhere}/documents", files=other)
    assert second["id"] != made["id"], "names are those of one chat"
    await refused(client, "POST", f"{path}/documents", 422, None, files={"other": ("a.txt", b"a")})
    await refused(client, "POST", f"{path}/documents", 400, "INVALID_PARAMETER", files={"file": ("a.exe", b"a")})
    await refused(client, "POST", "/chats/chat0123456789abcd/documents", 404, "CHAT_NOT_FOUND", files=upload)
    assert (await client.json("GET", f"{path}/documents/{made['id']}"))["name"] == "tea.txt"
    assert [it["id"] for it in (await client.json("GET", f"{path}/documents"))["items"]] == [made["id"]]
    await refused(client, "GET", f"/chats/{elsewhere}/documents/{made['id']}", 404, "DOCUMENT_NOT_FOUND")
    found = await client.json("POST", f"{path}/search", json={"query": "oolong", "vector_search": {"topk": 2}})
    assert [it["content"] for it in found["items"]] == ["Oolong is half oxidised."]
    assert (found["id"], found["not_searchable"], found["errors"]) == (None, [], {})
    gone = await client.json("DELETE", f"{path}/documents/{made['id']}")
    assert gone["status"] == "DELETED"
    assert (await client.json("POST", f"{path}/search", json={"query": "oolong"}))["items"] == []
    assert (await client.http.delete(f"/bots/{talk.bot}/chats/{elsewhere}")).status_code == 204
    await refused(client, "POST", f"/chats/{elsewhere}/search", 404, "CHAT_NOT_FOUND", json={"query": "bytes"})


async def test_what_the_console_asks(client: Client, bot: dict[str, Any], talk: Talk) -> None:
    path = "/chat/completions/frontend"
    problem = {"type", "id", "data", "timestamp"}
    for params, said in (
        ({}, "bot_id is required"),
        ({"bot_id": "bot0123456789abcdef"}, "Bot not found"),
        ({"bot_id": bot["id"]}, "Bot flow config not found"),
        ({"bot_id": talk.bot, "chat_id": "chat0123456789abcd"}, "Chat chat0123456789abcd not found"),
    ):
        told = await client.json("POST", path, params=params, content="hello")
        assert (set(told), told["type"], told["data"]) == (problem, "error", said)
    nothing = {**FLOW, "nodes": FLOW["nodes"][:1], "edges": []}
    await client.json("PUT", f"/bots/{bot['id']}/flow", json=nothing)
    told = await client.json("POST", path, params={"bot_id": bot["id"]}, content="hello")
    assert (told["type"], told["data"]) == ("error", "No output node found")
    await client.json("PUT", f"/bots/{bot['id']}/flow", json=FLOW)
    asked = {
        "params": {"bot_id": bot["id"]},
        "headers": {"msg_id": "m-1"},
        "content": '{"message": "hello", "files": []}',
    }
    told = await client.json("POST", path, **asked)
    assert (told["type"], told["id"], isinstance(told["timestamp"], int)) == ("message", "m-1", True)
    assert await client.json("POST", path, **asked) == told, "the same msg_id is the same question"
    asked["params"]["stream"] = "true"
    async with aconnect_sse(client.http, "POST", path, **asked) as source:
        frames = [it.json() async for it in source.aiter_sse()]
    assert [it["type"] for it in frames] == ["start", *["message"] * (len(frames) - 2), "stop"]
    assert set(frames[-1]) == {"type", "id", "data", "memoryCount", "urls", "timestamp"}


async def test_what_openais_clients_ask(client: Client, stack: Stack, bot: dict[str, Any]) -> None:
    root, asked = f"{stack.url}/v1", {"messages": [{"role": "user", "content": "hello"}]}
    models = await client.json("GET", f"{root}/models")
    assert {"id": bot["id"], "object": "model", "owned_by": "aperag"}.items() <= models["data"][0].items()
    assert await client.json("GET", f"{root}/models/{bot['id']}") in models["data"]
    for method, path, status, body in (
        ("GET", "/models/none", 404, None),
        ("POST", "/chat/completions", 400, {**asked, "model": "none"}),
        ("POST", "/chat/completions", 400, {"messages": [{"role": "tool"}], "model": bot["id"]}),
        ("POST", "/chat/completions", 400, {"model": bot["id"]}),
    ):
        failed = await refused(client, method, f"{root}{path}", status, None, json=body)
        assert set(failed["error"]) == {"message", "type", "param", "code"}
    await client.json("PUT", f"/bots/{bot['id']}/flow", json=FLOW)
    whole = await client.json("POST", f"{root}/chat/completions", json={**asked, "model": bot["id"]})
    assert set(whole) == {"id", "object", "created", "model", "choices", "usage", "references"}
    [choice] = whole["choices"]
    assert (choice["index"], choice["message"]["role"], choice["finish_reason"]) == (0, "assistant", "stop")
    streaming = {**asked, "model": bot["id"], "stream": True}
    async with aconnect_sse(client.http, "POST", f"{root}/chat/completions", json=streaming) as source:
        told = [it async for it in source.aiter_sse()]
    chunks = [it.json() for it in told[:-1]]
    assert told[-1].data == "[DONE]"
    assert {it["object"] for it in chunks} == {"chat.completion.chunk"}
    assert chunks[0]["choices"][0]["delta"]["role"] == "assistant"
    assert chunks[-1]["choices"][0] == {"index": 0, "delta": {}, "finish_reason": "stop"}
    assert "".join(it["choices"][0]["delta"].get("content", "") for it in chunks) == choice["message"]["content"]


async def test_a_chat_of_ten_thousand_messages_is_read_in_pages_that_cost_the_same(
    client: Client, talk: Talk, rows: AsyncEngine
) -> None:
    async with rows.begin() as conn:
        await conn.execute(
            text(
                """
                WITH asked AS (INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, answer, parts,
                    outcome, credential)
                SELECT 'turn' || lpad(to_hex(n) || substr(md5(c.id), 1, 8), 16, '0'), c.owner, c.id, c.bot_id, n,
                    'm' || n, '{}', '{}', 'Question ' || n, 'Answer ' || n,
                    jsonb_build_array(jsonb_build_object('part_id', '1-1', 'type', 'message', 'timestamp', 1.5,
                        'data', jsonb_build_object('text', 'Answer ' || n))),
                    'answered', md5(n::text)
                FROM chat c, generate_series(0, 4999) AS n WHERE c.id = :chat RETURNING id, owner)
                INSERT INTO job (id, kind, subject_id, owner, lane, wanted, status, observed_generation, due_at, settled_at)
                SELECT 'job' || substr(id, 5), 'turn', id, owner, 'interactive', 'present', 'ACTIVE', 1, 'infinity', now()
                FROM asked
                """
            ),
            {"chat": talk.chat},
        )
    path = f"/bots/{talk.bot}/chats/{talk.chat}"
    seen: list[str] = []
    times: list[float] = []
    before: int | None = None
    while True:
        began = time.perf_counter()
        params = {"turns": 100} if before is None else {"turns": 100, "before": before}
        page = await client.json("GET", path, params=params)
        times.append(time.perf_counter() - began)
        seen = [it["data"] for turn in page["history"] for it in turn] + seen
        before = page["before"]
        if before is None:
            break
    assert len(seen) == 10_000
    assert seen[:2] == ["Question 0", "Answer 0"]
    assert seen[-1] == "Answer 4999"
    first, last = sorted(times[:10])[5], sorted(times[-10:])[5]
    assert last < 3 * first + 0.05, (first, last)
    print(f"pages of 200 messages: newest {first * 1000:.1f} ms, oldest {last * 1000:.1f} ms")  # noqa: T201
