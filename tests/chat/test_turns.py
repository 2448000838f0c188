"""Turns through real processes: what is told while they run, what is kept, and how they end."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

import pytest

from aperag_testing.conversation import Reading, Talk, followed, frames, offer
from aperag_testing.provider import KEY, Call, Reply

if TYPE_CHECKING:
    from aperag_testing.client import Client
    from aperag_testing.provider import Provider
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)


async def test_an_answer_is_told_as_it_is_made_and_kept_whole(talk: Talk, provider: Provider) -> None:
    gate = asyncio.Event()
    provider.replies.append(Reply(["Green ", "tea ", "is ", "heated."], thinking=["Let me ", "see."], gate=gate))
    turn_id = await talk.ask("What is green tea?")
    reading = Reading()
    async with aclosing(frames(talk.client, turn_id)) as told:
        async for frame in told:
            reading.frames.append(frame)
            if reading.text == "Green tea is ":
                gate.set()  # what was told so far was told before the model had ended
    assert reading.kinds == ["start", "thinking", "message", "stop"]
    assert "".join(it["data"] for it in reading.of("thinking")) == "Let me see."
    turn = await talk.turn(turn_id)
    assert (turn["state"], turn["answer"], reading.text) == ("answered", "Green tea is heated.", "Green tea is heated.")
    assert turn["usage"] == {
        "requests": 1,
        "input_tokens": turn["usage"]["input_tokens"],
        "output_tokens": 4,
        "tool_calls": 0,
    }
    assert [[(it["role"], it["type"], it["data"]) for it in group] for group in await talk.history()] == [
        [("human", "message", "What is green tea?")],
        [("ai", "thinking", "Let me see."), ("ai", "message", "Green tea is heated.")],
    ]
    assert [it.headers["authorization"] for it in provider.asked] == [f"Bearer {KEY}"]


async def test_tools_are_called_with_the_askers_rights_and_what_they_find_is_cited(
    talk: Talk, provider: Provider, client: Client
) -> None:
    collection = await client.collection("Tea")
    [document] = await client.upload(collection, {"tea.md": b"Green tea is brewed at 75 degrees."})
    await client.json("GET", f"/tasks/{document['task_id']}")
    provider.replies += [
        Reply(calls=[Call("list_collections")]),
        Reply(calls=[Call("search_collection", {"collection_id": collection, "query": "degrees of green tea"})]),
        Reply(["At 75 degrees [1]."]),
    ]
    body = {"query": "green", "fulltext_search": {}, "wait_for": [document["id"]], "wait_ms": 10_000}
    await client.json("POST", f"/collections/{collection}/searches", json=body)
    turn, reading = await talk.answered("How hot?")
    assert turn["answer"] == "At 75 degrees [1]."
    assert reading.kinds == [
        "start",
        "tool_call",
        "tool_call_result",
        "tool_call",
        "tool_call_result",
        "message",
        "references",
        "stop",
    ]
    assert [it["tool_name"] for it in reading.of("tool_call_result")] == ["list_collections", "search_collection"]
    assert "1 passages: tea.md" in reading.of("tool_call_result")[1]["data"]
    [reference] = reading.of("references")[0]["data"]
    found_by = {name: reference["metadata"][name] for name in ("type", "query", "collection_id")}
    assert found_by == {"type": "search_collection", "query": "degrees of green tea", "collection_id": collection}
    answer = (await talk.history())[1]
    assert [it["data"].partition("\n\n")[0] for it in answer if it["type"] == "tool_call_result"] == [
        "**Collections**",
        "**Search**",
    ]
    [reference] = reading.ends[0]["data"]
    assert reference["text"] == "Green tea is brewed at 75 degrees."
    assert reference["metadata"]["document_id"] == document["id"]
    assert (turn["usage"]["requests"], turn["usage"]["tool_calls"]) == (3, 2)
    assert provider.asked[0].tools == {"list_collections", "search_collection", "list_documents", "read_document"}


async def test_the_model_is_told_what_was_said_before(talk: Talk, provider: Provider) -> None:
    provider.replies += [Reply(["Oolong."]), Reply(["Yes."])]
    await talk.answered("Which tea?")
    await talk.answered("Is it Chinese?")
    assert provider.asked[1].texts[-3:] == ["Which tea?", "Oolong.", provider.asked[1].texts[-1]]
    assert "Is it Chinese?" in provider.asked[1].texts[-1]


@pytest.mark.parametrize(
    ("failures", "code", "said"),
    [
        ([Reply(status=401, message=f"bad key {KEY}")], "MODEL_REFUSED", "refuses the API key"),
        ([Reply(status=404)], "MODEL_NOT_FOUND", "knows no model"),
        ([Reply(status=500)] * 2, "MODEL_FAILED", "status 500"),
        ([Reply(status=429, headers={"retry-after": "120"})] * 2, "MODEL_BUSY", "takes no more requests"),
        ([Reply(body=b"no JSON", headers={"content-type": "text/event-stream"})], "MODEL_FAILED", ""),
        ([Reply()] * 3, "MODEL_FAILED", ""),
        ([Reply(["It ", "is ", "so."], cut=2)], "MODEL_FAILED", "broke off"),
    ],
)
async def test_what_the_provider_does_wrong_ends_the_turn_with_the_reason(
    failures: list[Reply], code: str, said: str, talk: Talk, provider: Provider
) -> None:
    provider.replies.extend(failures)
    turn, reading = await talk.answered("Why?")
    assert (turn["state"], turn["error"]["code"]) == ("failed", code), turn
    assert said in turn["error"]["message"]
    assert [it["type"] for it in reading.ends] == ["error"]
    assert reading.ends[0]["data"] == turn["error"]["message"]
    assert KEY not in str(turn) + str(reading.frames)


async def test_a_failure_before_anything_was_answered_is_tried_again(talk: Talk, provider: Provider) -> None:
    provider.replies += [Reply(status=503), Reply(["Yes."])]
    turn, _ = await talk.answered("Really?")
    assert (turn["state"], turn["answer"], len(provider.asked)) == ("answered", "Yes.", 2)


async def test_a_turn_that_goes_on_for_ever_is_ended(talk: Talk, provider: Provider) -> None:
    provider.decide = lambda _: Reply(calls=[Call("list_collections")])
    turn, _ = await talk.answered("Again?")
    assert (turn["state"], turn["error"]["code"]) == ("failed", "TURN_LIMIT_EXCEEDED")
    assert len(provider.asked) == 4


async def test_an_answer_that_grows_without_end_is_ended(talk: Talk, provider: Provider) -> None:
    provider.replies.append(Reply(["tea " * 1000] * 20))
    turn, _ = await talk.answered("More?")
    assert (turn["state"], turn["error"]["code"]) == ("failed", "ANSWER_TOO_LONG")


async def test_tools_that_are_asked_for_wrongly_are_answered_with_what_is_wrong(talk: Talk, provider: Provider) -> None:
    provider.replies += [
        Reply(calls=[Call("search_collection", {"collection_id": "col0123456789abcdef", "query": "tea"})]),
        Reply(calls=[Call("search_collection", "{no JSON")]),
        Reply(["I cannot."]),
    ]
    turn, reading = await talk.answered("Search.")
    assert turn["answer"] == "I cannot."
    first = reading.of("tool_call_result")[0]
    assert (first["failed"], "not found" in first["data"]) == (True, True)


async def test_a_model_that_nobody_set_up_is_named(talk: Talk) -> None:
    talk.provider = "openai"
    turn, _ = await talk.answered("Hello?")
    assert turn["error"]["code"] == "LLM_MODEL_NOT_FOUND"
    turn, _ = await talk.answered("Hello?", completion={"model_service_provider": "openai", "model": "gpt-4o-mini"})
    assert turn["error"] == {
        "code": "PROVIDER_KEY_MISSING",
        "message": "Provider openai has no API key. Enter one, or choose another provider.",
    }


async def test_a_turn_that_was_begun_at_one_gateway_is_followed_at_another_by_many(
    talk: Talk, provider: Provider, other_gateway: Client
) -> None:
    gate = asyncio.Event()
    provider.replies.append(Reply(["a", "b", "c"], gate=gate))
    turn_id = await talk.ask("Letters?")
    readers = [asyncio.create_task(followed(other_gateway, turn_id)) for _ in range(5)]
    async with aclosing(frames(talk.client, turn_id)) as told:
        async for frame in told:
            if frame.kind == "message":
                gate.set()
    late = await followed(other_gateway, turn_id)
    for reading in [*await asyncio.gather(*readers), late]:
        assert (reading.text, len(reading.ends)) == ("abc", 1)


async def test_a_cancelled_turn_stops_and_keeps_what_there_is(
    talk: Talk, provider: Provider, other_gateway: Client
) -> None:
    gate = asyncio.Event()
    provider.replies.append(Reply(["It ", "is ", "long."], gate=gate))
    turn_id = await talk.ask("Long?")
    reading = Reading()
    async with aclosing(frames(talk.client, turn_id)) as told:
        async for frame in told:
            reading.frames.append(frame)
            if reading.text == "It is " and frame.kind == "message":
                await other_gateway.json("POST", f"/turns/{turn_id}/cancel")
    assert [it.get("outcome") for it in reading.ends] == ["cancelled"]
    turn = await talk.turn(turn_id)
    assert (turn["state"], turn["answer"]) == ("cancelled", "It is ")
    gate.set()
    again = await talk.client.http.post(f"/turns/{turn_id}/cancel")
    assert again.status_code == 409


async def test_many_turns_at_once_do_not_mix(client: Client, provider: Provider) -> None:
    provider.decide = lambda asked: Reply([f"{word} " for word in asked.texts[-1].split() if word.startswith("w")])
    name = await offer(client, provider)
    talks = [await Talk.begin(client, name) for _ in range(8)]
    ended = await asyncio.gather(*(talk.answered(f"say w{number} w{number}") for number, talk in enumerate(talks)))
    for number, (turn, reading) in enumerate(ended):
        assert f"w{number} w{number}" in turn["answer"]
        assert reading.text == turn["answer"]


async def test_the_built_in_model_answers_without_key_and_network_in_three_languages(
    client: Client, stack: Stack
) -> None:
    collection = await client.collection("Teas")
    documents = await client.upload(
        collection,
        {
            "tea.md": b"# Green tea\n\nIt is brewed at 75 degrees for two minutes.\n",
            "녹차.md": "# 녹차\n\n녹차는 75도의 물로 2분 동안 우린다.\n".encode(),
            "绿茶.md": "# 绿茶\n\n绿茶用75度的水冲泡两分钟。\n".encode(),
        },
    )
    body = {"query": "tea", "fulltext_search": {}, "wait_for": [it["id"] for it in documents], "wait_ms": 10_000}
    await client.json("POST", f"/collections/{collection}/searches", json=body)
    talk = await Talk.begin(client)
    for question, sentence, source in (
        ("How many degrees for green tea?", "It is brewed at 75 degrees", "tea.md"),
        ("녹차는 몇 도의 물로 우리나요?", "75도의 물로", "녹차.md"),
        ("绿茶用多少度的水冲泡？", "75度的水", "绿茶.md"),
    ):
        turn, reading = await talk.answered(question, collections=[{"id": collection}])
        assert turn["state"] == "answered", stack.log("agent")[-2000:]
        assert sentence in turn["answer"]
        assert f"[1] {source}" in turn["answer"]
        assert reading.ends[0]["data"][0]["metadata"]["source"] == source
