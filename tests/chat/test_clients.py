"""Chat clients as people have them, against a running stack: the official OpenAI client, a WebSocket, the console's SSE."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import openai
import pytest
import pytest_asyncio
from httpx_sse import aconnect_sse
from websockets.asyncio.client import connect
from websockets.exceptions import InvalidStatus

from aperag_testing.conversation import MODEL, Talk
from aperag_testing.provider import Reply
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_testing.client import Client
    from aperag_testing.provider import Provider
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)

QUESTION = [{"role": "user", "content": "How hot is green tea brewed?"}]


def sdk(stack: Stack, **options: Any) -> openai.AsyncOpenAI:
    return openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key=stack.api_key, **options)


async def test_openais_client_gets_a_whole_answer(stack: Stack, bot: str, provider: Provider) -> None:
    provider.replies.append(Reply(["At ", "75 degrees."]))
    async with sdk(stack) as client:
        answer = await client.chat.completions.create(
            model="aperag", messages=QUESTION, extra_query={"bot_id": bot}, temperature=0.3, max_tokens=50
        )
        models = [it.id async for it in client.models.list()]
        one = await client.models.retrieve(bot)
    assert (answer.object, answer.model) == ("chat.completion", "aperag")
    [choice] = answer.choices
    assert (choice.index, choice.message.role, choice.finish_reason) == (0, "assistant", "stop")
    assert choice.message.content == "At 75 degrees."
    assert answer.usage is not None
    assert answer.usage.total_tokens == answer.usage.prompt_tokens + answer.usage.completion_tokens > 0
    assert bot in models
    assert (one.id, one.object) == (bot, "model")
    [asked] = provider.asked
    assert (asked.body["temperature"], asked.body.get("max_completion_tokens", asked.body.get("max_tokens"))) == (
        0.3,
        50,
    )


async def test_openais_synchronous_client_streams(stack: Stack, bot: str, provider: Provider) -> None:
    provider.replies.append(Reply(["At 75 degrees."]))

    def stream() -> list[Any]:
        with openai.OpenAI(base_url=f"{stack.url}/v1", api_key=stack.api_key) as client:
            told = client.chat.completions.create(
                model=bot, messages=QUESTION, stream=True, stream_options={"include_usage": True}
            )
            return list(told)

    chunks = await asyncio.to_thread(stream)
    *told, usage = chunks
    assert all(it.object == "chat.completion.chunk" and len(it.choices) == 1 for it in told)
    assert len({it.id for it in chunks}) == 1
    assert told[0].choices[0].delta.role == "assistant"
    pieces = [it.choices[0].delta.content for it in told if it.choices[0].delta.content]
    assert len(pieces) >= 2
    assert "".join(pieces) == "At 75 degrees."
    assert told[-1].choices[0].finish_reason == "stop"
    assert usage.choices == []
    assert usage.usage.total_tokens > 0


async def test_the_clients_own_conversation_is_what_the_model_is_told(
    stack: Stack, bot: str, provider: Provider
) -> None:
    provider.replies.append(Reply(["Yes."]))
    said = [
        {"role": "system", "content": "Answer like a tea master."},
        {"role": "user", "content": "Which tea?"},
        {"role": "assistant", "content": "Oolong."},
        {"role": "user", "content": [{"type": "text", "text": "Is it Chinese?"}]},
    ]
    async with sdk(stack) as client:
        await client.chat.completions.create(model=bot, messages=said)
    texts = provider.asked[0].texts
    assert "Answer like a tea master." in texts
    assert [it for it in texts if it in {"Which tea?", "Oolong."}] == ["Which tea?", "Oolong."]
    assert "Is it Chinese?" in texts[-1]


async def test_openais_client_reads_every_failure(stack: Stack, bot: str, provider: Provider) -> None:
    async with sdk(stack, max_retries=0) as client:
        create = client.chat.completions.create
        with pytest.raises(openai.NotFoundError, match="Bot not found"):
            await create(model="aperag", messages=QUESTION, extra_query={"bot_id": "bot0123456789abcdef"})
        with pytest.raises(openai.BadRequestError, match="bot_id is required"):
            await create(model="aperag", messages=QUESTION)
        with pytest.raises(openai.BadRequestError, match="one answer at a time") as refused:
            await create(model=bot, messages=QUESTION, n=2)
        assert refused.value.param == "n"
        with pytest.raises(openai.BadRequestError, match="only text"):
            picture = [{"type": "image_url", "image_url": {"url": "data:"}}]
            await create(model=bot, messages=[{"role": "user", "content": picture}])
        with pytest.raises(openai.BadRequestError, match="messages") as invalid:
            await create(model=bot, messages=[])
        assert (invalid.value.type, invalid.value.param) == ("invalid_request_error", "messages")
    provider.replies.append(Reply(status=401))
    async with sdk(stack) as client:  # which repeats what it is not told to leave
        with pytest.raises(openai.InternalServerError, match="refuses the API key") as failed:
            await client.chat.completions.create(model=bot, messages=QUESTION)
        assert failed.value.code == "model_refused"
        assert len(provider.asked) == 1
        provider.replies.append(Reply(status=404))
        with pytest.raises(openai.APIError, match="knows no model"):
            async for _ in await client.chat.completions.create(model=bot, messages=QUESTION, stream=True):
                pass
    async with openai.AsyncOpenAI(base_url=f"{stack.url}/v1", api_key="sk-" + "0" * 32, max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError):
            await stranger.models.list()


async def test_a_chat_that_is_named_keeps_what_was_said(
    stack: Stack, bot: str, client: Client, provider: Provider
) -> None:
    chat = (await client.json("POST", f"/bots/{bot}/chats", json={}))["id"]
    provider.replies += [Reply(["Oolong."]), Reply(["Yes."])]
    async with sdk(stack) as program:
        for question in ("Which tea?", "Is it Chinese?"):
            asked = [{"role": "user", "content": question}]
            await program.chat.completions.create(
                model="x", messages=asked, extra_query={"bot_id": bot, "chat_id": chat}
            )
    assert {"Which tea?", "Oolong."} <= {text.splitlines()[0] for text in provider.asked[1].texts if text}
    history = (await client.json("GET", f"/bots/{bot}/chats/{chat}"))["history"]
    assert [[it["data"] for it in group] for group in history] == [
        ["Which tea?"],
        ["Oolong."],
        ["Is it Chinese?"],
        ["Yes."],
    ]


@asynccontextmanager
async def socket(
    stack: Stack, bot: str, chat: str, *, gateway: str | None = None, query: str = ""
) -> AsyncIterator[Any]:
    url = (stack.url if gateway is None else stack.url_of(gateway)).replace("http", "ws", 1)
    path = f"{url}/api/v1/bots/{bot}/chats/{chat}/connect{query}"
    async with connect(path, additional_headers={"Authorization": f"Bearer {stack.api_key}"}, proxy=None) as opened:
        yield opened


async def frame_of(opened: Any) -> dict[str, Any]:
    async with asyncio.timeout(60):
        return dict(json.loads(await opened.recv()))


async def until_end(opened: Any) -> list[dict[str, Any]]:
    frames = [await frame_of(opened)]
    while frames[-1]["type"] not in {"stop", "error"}:
        frames.append(await frame_of(opened))
    return frames


def text_of(frames: list[dict[str, Any]]) -> str:
    return "".join(it["data"] for it in frames if it["type"] == "message")


async def test_an_agent_answers_over_a_websocket_and_two_tabs_do_not_mix(
    stack: Stack, talk: Talk, provider: Provider
) -> None:
    provider.decide = lambda asked: Reply(["To ", "one."] if "first tab" in asked.texts[-1] else ["To ", "two."])
    model = {"model_service_provider": talk.provider, "model": MODEL}
    async with (
        socket(stack, talk.bot, talk.chat) as first,
        socket(stack, talk.bot, talk.chat, gateway="api-2") as second,
    ):
        await first.send(
            json.dumps({"query": "from the first tab", "collections": [], "completion": model, "files": None})
        )
        await second.send(json.dumps({"query": "from the other", "collections": [], "completion": model}))
        one, two = await asyncio.gather(until_end(first), until_end(second))
    assert (text_of(one), text_of(two)) == ("To one.", "To two.")
    for frames in (one, two):
        assert [frames[0]["type"], frames[-1]["type"]] == ["start", "stop"]
        assert len({it["id"] for it in frames}) == 1
        assert all(isinstance(it["timestamp"], int) for it in frames)
        assert (frames[-1]["data"], frames[-1]["urls"]) == ([], [])
    assert one[0]["id"] != two[0]["id"]
    assert [group[0]["role"] for group in await talk.history()] == ["human", "ai"] * 2


async def test_who_comes_back_in_the_middle_of_an_answer_and_asks_for_it_is_told_all_of_it(
    stack: Stack, talk: Talk, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.replies.append(Reply(["Green ", "tea ", "is ", "heated."], gate=gate))
    model = {"model_service_provider": talk.provider, "model": MODEL}
    async with socket(stack, talk.bot, talk.chat) as opened:
        await opened.send(json.dumps({"query": "What?", "collections": [], "completion": model, "message_id": "mine"}))
        told: list[dict[str, Any]] = []
        while text_of(told) != "Green tea is ":
            told.append(await frame_of(opened))
        opened.transport.abort()
    async with socket(stack, talk.bot, talk.chat, gateway="api-2", query="?resume=true") as again:
        frames = [await frame_of(again)]
        gate.set()
        frames += await until_end(again)
    assert frames[0]["type"] == "start"
    assert text_of(frames) == "Green tea is heated."
    assert {it["id"] for it in frames} == {"mine"}


async def test_a_question_over_a_websocket_can_be_cancelled_and_wrong_frames_are_answered(
    stack: Stack, talk: Talk, provider: Provider
) -> None:
    gate = asyncio.Event()
    provider.replies.append(Reply(["So ", "it is."], gate=gate))
    model = {"model_service_provider": talk.provider, "model": MODEL}
    async with socket(stack, talk.bot, talk.chat) as opened:
        for wrong, said in (
            ("no JSON", "not valid JSON"),
            (json.dumps({"query": " ", "language": "ko-KR", "collections": []}), "질문을 입력해 주세요"),
            (json.dumps({"query": "x", "collections": [], "completion": {"temperature": "hot"}}), "model"),
            (json.dumps({"query": "x", "collections": [{"id": "col0123456789abcdef"}]}), "not found"),
        ):
            await opened.send(wrong)
            answer = await frame_of(opened)
            assert (answer["type"], answer["id"]) == ("error", "error")
            assert said in answer["data"]
        await opened.send(json.dumps({"query": "Why?", "collections": [], "completion": model}))
        frames: list[dict[str, Any]] = []
        while text_of(frames) != "So ":
            frames.append(await frame_of(opened))
        await opened.send(json.dumps({"type": "cancel"}))
        frames += await until_end(opened)
        gate.set()
    assert frames[-1]["type"] == "stop"
    assert text_of(frames) == "So "


async def test_a_websocket_opens_only_to_who_may_ask(stack: Stack, talk: Talk) -> None:
    url = stack.url.replace("http", "ws", 1) + f"/api/v1/bots/{talk.bot}/chats"
    key = {"Authorization": f"Bearer {stack.api_key}"}
    for path, headers in ((f"{talk.chat}/connect", {}), ("chat0123456789abcd/connect", key)):
        with pytest.raises(InvalidStatus) as refused:
            async with connect(f"{url}/{path}", additional_headers=headers, proxy=None):
                pass
        assert refused.value.response.status_code == 403


FLOW = {
    "name": "tea",
    "version": "1.0.0",
    "execution": {
        "timeout": 60,
        "retry": {"max_attempts": 2, "delay": 0.1},
        "error_handling": {"strategy": "stop_on_error"},
    },
    "nodes": [
        {"id": "start", "type": "start", "position": {"x": 0, "y": 0}, "data": {"input": {"values": {"query": ""}}}},
        {
            "id": "vector-1",
            "type": "vector_search",
            "data": {"input": {"values": {"top_k": 3, "similarity_threshold": 0.1}}},
        },
        {
            "id": "words",
            "type": "fulltext_search",
            "data": {"input": {"values": {"query": "{{ nodes.start.output.query }}"}}},
        },
        {
            "id": "merge",
            "type": "merge",
            "data": {
                "input": {
                    "values": {
                        "merge_strategy": "union",
                        "deduplicate": True,
                        "vector_search_docs": "{{ nodes.vector-1.output.docs }}",
                        "fulltext_search_docs": "{{ nodes.words.output.docs }}",
                    }
                }
            },
        },
        {"id": "rerank", "type": "rerank", "data": {"input": {"values": {"docs": "{{ nodes.merge.output.docs }}"}}}},
        {
            "id": "llm",
            "type": "llm",
            "data": {
                "input": {
                    "values": {
                        "prompt_template": "Material:\n{context}\nQuestion: {query} ({{ nodes.start.output.query | length }})",
                        "docs": "{{ nodes.rerank.output.docs }}",
                    }
                }
            },
        },
    ],
    "edges": [
        {"source": "start", "target": "vector-1"},
        {"source": "start", "target": "words"},
        {"source": "vector-1", "target": "merge"},
        {"source": "words", "target": "merge"},
        {"source": "merge", "target": "rerank"},
        {"source": "rerank", "target": "llm"},
    ],
}


def flow(**values: Any) -> dict[str, Any]:
    """With further values of the llm node."""
    copied = json.loads(json.dumps(FLOW))
    copied["nodes"][-1]["data"]["input"]["values"].update(values)
    return dict(copied)


@pytest_asyncio.fixture
async def library(client: Client) -> str:
    collection = await client.collection("Tea")
    [document] = await client.upload(collection, {"tea.md": b"Green tea is brewed at 75 degrees."})
    await client.search(collection, "green tea", wait_for=[document["id"]])
    return collection


@pytest_asyncio.fixture
async def knowing(client: Client, library: str) -> AsyncIterator[str]:
    """A knowledge bot without a flow yet."""
    body = {"title": "Knows tea", "type": "knowledge", "config": json.dumps({"collection_ids": [library]})}
    made = await client.json("POST", "/bots", json=body)
    yield made["id"]
    await client.http.delete(f"/bots/{made['id']}")


async def ask_console(client: Client, bot: str, chat: str, body: str, **query: Any) -> list[dict[str, Any]]:
    params = {"bot_id": bot, "chat_id": chat, "stream": "true", **query}
    async with aconnect_sse(
        client.http, "POST", "/chat/completions/frontend", params=params, headers={"msg_id": "m1"}, content=body
    ) as source:
        return [json.loads(message.data) async for message in source.aiter_sse()]


async def test_a_flow_answers_every_client_of_a_knowledge_bot(
    stack: Stack, client: Client, knowing: str, talk: Talk, provider: Provider
) -> None:
    path = f"/bots/{knowing}"
    chat = (await client.json("POST", f"{path}/chats", json={}))["id"]
    assert await client.json("GET", f"{path}/flow") == {}
    [missing] = await ask_console(client, knowing, chat, "How hot?")
    assert (missing["type"], missing["data"]) == ("error", "Bot flow config not found")
    wanted = flow(model_service_provider=talk.provider, model_name=MODEL, temperature=0.5)
    assert await client.json("PUT", f"{path}/flow", json=wanted) == wanted
    assert await client.json("GET", f"{path}/flow") == wanted
    provider.decide = lambda _: Reply(["At ", "75 [1]."])
    question = "How hot is green tea brewed?"

    frames = await ask_console(client, knowing, chat, question)
    assert frames[0]["type"] == "start"
    assert text_of(frames) == "At 75 [1]."
    assert frames[-1]["type"] == "stop"
    assert frames[-1]["data"][0]["text"] == "Green tea is brewed at 75 degrees."
    assert {it["id"] for it in frames} == {"m1"}
    assert "Green tea is brewed at 75 degrees." in provider.asked[0].texts[-1]
    assert f"Question: {question} ({len(question)})" in provider.asked[0].texts[-1]

    async with socket(stack, knowing, chat) as opened:
        await opened.send(json.dumps({"data": question}))
        told = await until_end(opened)
    assert [it["type"] for it in told if it["type"] != "message"] == ["start", "references", "stop"]
    assert text_of(told) == "At 75 [1]."
    assert told[-2]["memoryCount"] == 1
    assert set(told[-1]) == {"type", "id", "timestamp"}

    async with sdk(stack) as program:
        answer = await program.chat.completions.create(
            model="aperag", messages=[{"role": "user", "content": question}], extra_query={"bot_id": knowing}
        )
    assert answer.choices[0].message.content == "At 75 [1]."


async def test_the_built_in_model_quotes_what_a_flow_finds(client: Client, knowing: str) -> None:
    await client.json("PUT", f"/bots/{knowing}/flow", json=FLOW)
    chat = (await client.json("POST", f"/bots/{knowing}/chats", json={}))["id"]
    params = {"bot_id": knowing, "chat_id": chat}
    answer = await client.json(
        "POST", "/chat/completions/frontend", params=params, content="How hot is green tea brewed?"
    )
    assert answer["type"] == "message"
    assert "75 degrees" in answer["data"]


async def test_a_flow_is_tried_node_by_node(client: Client, knowing: str, talk: Talk, provider: Provider) -> None:
    wanted = flow(model_service_provider=talk.provider, model_name=MODEL)
    await client.json("PUT", f"/bots/{knowing}/flow", json=wanted)
    provider.replies.append(Reply(["At ", "75."]))
    async with aconnect_sse(
        client.http, "POST", f"/bots/{knowing}/flow/debug", json={"query": "How hot is green tea?"}
    ) as source:
        events = [json.loads(message.data) async for message in source.aiter_sse()]
    kinds = [it["event_type"] for it in events]
    assert kinds[0] == "flow_start"
    assert kinds.count("node_start") == kinds.count("node_end") == 6
    assert "".join(it["data"]["chunk"] for it in events[kinds.index("flow_end") + 1 :]) == "At 75."
    assert all(set(it) == {"event_type", "node_id", "node_type", "execution_id", "timestamp", "data"} for it in events)
    assert len({it["execution_id"] for it in events}) == 1
    found = next(it for it in events if it["event_type"] == "node_end" and it["node_id"] == "words")
    assert found["data"]["outputs"]["docs"][0]["text"] == "Green tea is brewed at 75 degrees."


async def test_a_file_of_a_chat_is_found_there_and_nowhere_else(client: Client, talk: Talk, library: str) -> None:
    upload = {"file": ("note.txt", b"The meeting about oolong is on Thursday in room 12.")}
    made = await client.json("POST", f"/chats/{talk.chat}/documents", files=upload)
    found = await client.json("POST", f"/chats/{talk.chat}/search", json={"query": "When is the meeting about oolong?"})
    assert [it["content"] for it in found["items"]] == ["The meeting about oolong is on Thursday in room 12."]
    assert found["not_searchable"] == []
    assert (await client.json("GET", f"/chats/{talk.chat}/documents/{made['id']}"))["status"] in {"RUNNING", "COMPLETE"}
    other = await Talk.begin(client)
    assert (await client.json("POST", f"/chats/{other.chat}/search", json={"query": "oolong meeting"}))["items"] == []
    listed = await client.json("GET", "/collections")
    for collection in [it["id"] for it in listed["items"]]:
        assert await client.search(collection, "meeting about oolong on Thursday", legs=["fulltext"]) == []
    mine = Talk(client, talk.bot, talk.chat)
    turn, reading = await mine.answered("When is the meeting about oolong?", files=[{"id": made["id"], "name": "x"}])
    assert "Thursday" in turn["answer"], str(turn["error"]) + str(reading.frames)
    assert reading.ends[0]["data"][0]["metadata"]["document_id"] == made["id"]
    history = await mine.history()
    assert history[0][0]["files"] == [{"id": made["id"], "name": "note.txt"}]


async def test_history_feedback_and_titles_outlive_every_process(
    stack: Stack, client: Client, talk: Talk, provider: Provider
) -> None:
    provider.decide = lambda asked: Reply(["Heat of tea" if "title" in asked.texts[0] else "At 75 degrees."])
    await talk.answered("How hot is green tea?", message_id="m1")
    path = f"/bots/{talk.bot}/chats/{talk.chat}"
    kept = await client.json("POST", f"{path}/messages/m1", json={"type": "bad", "tag": "Fake", "message": "colder"})
    assert kept == {"action": "upserted", "feedback": {"type": "bad", "tag": "Fake", "message": "colder"}}
    title = (await client.json("POST", f"{path}/title", json={"language": "en-US", "max_length": 20}))["title"]
    before = await client.json("GET", path)
    assert before["title"] == title
    for service in ("postgres", "nats", "agent", "agent-2", "api", "api-2"):
        stack.kill(service)

    async def there() -> dict[str, Any]:
        answer = await client.patiently("GET", path)
        return dict(answer.json()) if answer.status_code == 200 else {}

    after = await until(there, within=90)
    assert after == before
    assert after["history"][1][0]["feedback"] == {"type": "bad", "tag": "Fake", "message": "colder"}
    gone = await client.json("POST", f"{path}/messages/m1", json={"type": None})
    assert gone == {"action": "deleted", "success": True}
