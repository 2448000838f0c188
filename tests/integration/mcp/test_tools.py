"""What each tool does, and what it says where it cannot."""

from __future__ import annotations

import asyncio
import json
import uuid
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import validate

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from fastmcp import Client
    from tests.integration.mcp.conftest import Person, Shelf

CONTRACT = {
    "list_collections": {},
    "search_collection": {
        "collection_id": ...,
        "query": ...,
        "use_vector_index": True,
        "use_fulltext_index": True,
        "use_graph_index": True,
        "use_summary_index": True,
        "use_vision_index": True,
        "rerank": True,
        "topk": 5,
        "query_keywords": None,
    },
    "search_chat_files": {
        "chat_id": ...,
        "query": ...,
        "use_vector_index": True,
        "use_fulltext_index": True,
        "rerank": True,
        "topk": 5,
    },
    "web_search": {
        "query": "",
        "max_results": 5,
        "timeout": 30,
        "locale": "en-US",
        "source": "",
        "search_llms_txt": "",
    },
    "web_read": {"url_list": ..., "timeout": 30, "locale": "en-US", "max_concurrent": 5},
}
"""Parameters and defaults that existing clients rely on; ``...`` is required."""
BEYOND = {"list_documents", "read_document", "add_document", "document_status"}


async def call(client: Client[Any], tool: str, **arguments: Any) -> dict[str, Any]:
    answer = (await client.call_tool(tool, arguments)).structured_content
    assert answer is not None
    return answer


async def refusal(client: Client[Any], tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments, raise_on_error=False)
    assert answer.is_error, answer
    assert answer.structured_content is None, "a failure is no data"
    return str(answer.content[0].text)


async def test_tools_have_the_contracts_names_parameters_and_defaults(alice: Person) -> None:
    async with alice.mcp() as client:
        tools = {tool.name: tool for tool in await client.list_tools()}
    assert set(tools) == set(CONTRACT) | BEYOND
    for name, parameters in CONTRACT.items():
        schema = tools[name].input_schema
        required = schema.get("required", [])
        found = {key: ... if key in required else part["default"] for key, part in schema["properties"].items()}
        assert found == parameters, name


async def test_tools_say_what_they_do_to_the_world(alice: Person) -> None:
    async with alice.mcp() as client:
        tools = await client.list_tools()
    for tool in tools:
        hints = tool.annotations
        assert hints is not None
        assert hints.read_only_hint is (tool.name != "add_document")
        assert hints.destructive_hint is False
        assert hints.open_world_hint is (tool.name in {"web_search", "web_read", "add_document"})
        assert tool.output_schema is not None
        assert tool.description


async def test_collections_are_listed_with_their_ids(alice: Person, shelf: Shelf) -> None:
    async with alice.mcp() as client:
        answer = await call(client, "list_collections")
    assert [item["id"] for item in answer["items"]] == [shelf.collection]
    assert answer["pageResult"]["count"] == 1


async def test_more_collections_than_a_page_of_the_gateway_are_all_listed(
    alice: Person, monkeypatch: pytest.MonkeyPatch, replica: Callable[..., Any]
) -> None:
    monkeypatch.setattr("aperag_mcp.collections.tools.PAGE", 2)
    made = [await alice.collection(f"c{number}") for number in range(5)]
    async with replica() as other, alice.mcp(f"{other.url}/mcp/") as client:
        answer = await call(client, "list_collections")
    assert sorted(item["id"] for item in answer["items"]) == sorted(made)


async def test_a_search_finds_what_was_added_and_names_what_is_not_available(alice: Person, shelf: Shelf) -> None:
    async with alice.mcp() as client:
        answer = await call(client, "search_collection", collection_id=shelf.collection, query="oxidised green tea")
        schema = next(it for it in await client.list_tools() if it.name == "search_collection").output_schema
    assert [item["rank"] for item in answer["items"]] == list(range(1, len(answer["items"]) + 1))
    assert answer["items"][0]["metadata"]["document_id"] == shelf.document
    assert "Green tea" in answer["items"][0]["content"]
    assert set(answer["errors"]) == {"graph_search", "summary_search", "vision_search"}
    validate(answer, schema)


async def test_text_and_structured_content_say_the_same(alice: Person, shelf: Shelf) -> None:
    async with alice.mcp() as client:
        answer = await client.call_tool("search_collection", {"collection_id": shelf.collection, "query": "tea"})
    assert json.loads(answer.content[0].text) == answer.structured_content


async def test_topk_counts_over_all_kinds_of_search(alice: Person) -> None:
    collection = await alice.collection()
    async with alice.mcp() as client:
        for number in range(3):
            text = f"# Tea {number}\n\nGreen tea, harvest number {number}."
            await call(client, "add_document", collection_id=collection, text=text, wait=True)
        found = await call(client, "search_collection", collection_id=collection, query="green tea harvest", topk=2)
        chosen = await call(
            client, "search_collection", collection_id=collection, query="tea", query_keywords=["harvest"], topk=9
        )
    assert [item["rank"] for item in found["items"]] == [1, 2]
    assert len(chosen["items"]) >= 3


async def test_an_agents_searches_stay_out_of_the_history(alice: Person, shelf: Shelf) -> None:
    async with alice.mcp() as client:
        await call(client, "search_collection", collection_id=shelf.collection, query="tea")
    assert (await alice.rest.get(f"/collections/{shelf.collection}/searches")).json()["items"] == []


async def test_a_search_by_nothing_is_refused(alice: Person, shelf: Shelf) -> None:
    off = {f"use_{kind}_index": False for kind in ("vector", "fulltext", "graph", "summary")}
    async with alice.mcp() as client:
        said = await refusal(client, "search_collection", collection_id=shelf.collection, query="tea", **off)
        chat = await refusal(
            client, "search_chat_files", chat_id="chat1", query="x", use_vector_index=False, use_fulltext_index=False
        )
    assert "Leave at least one of them on" in said
    assert "Leave at least one of them on" in chat


async def test_long_passages_are_shortened_and_the_result_says_so(
    alice: Person, shelf: Shelf, replica: Callable[..., Any]
) -> None:
    async with replica(mcp_result_characters=20) as other, alice.mcp(f"{other.url}/mcp/") as client:
        answer = await call(client, "search_collection", collection_id=shelf.collection, query="oxidised tea")
    assert sum(len(item["content"]) for item in answer["items"]) <= 20
    assert "read_document gives the whole text" in answer["notes"][0]


async def test_documents_are_listed_page_by_page(alice: Person) -> None:
    collection = await alice.collection()
    async with alice.mcp() as client:
        for name in ("one.md", "two.md", "three.txt"):
            await call(client, "add_document", collection_id=collection, text=name, name=name)
        first = await call(client, "list_documents", collection_id=collection, page_size=2)
        second = await call(client, "list_documents", collection_id=collection, page_size=2, page=2)
        some = await call(client, "list_documents", collection_id=collection, search="t")
    assert [item["name"] for item in (*first["items"], *second["items"])] == ["three.txt", "two.md", "one.md"]
    assert (first["total"], first["has_next"], second["has_next"]) == (3, True, False)
    assert {item["name"] for item in some["items"]} >= {"two.md", "three.txt"}


async def test_a_document_is_read_page_by_page(alice: Person) -> None:
    collection = await alice.collection()
    text = "\n\n".join(f"Paragraph {number} über 茶 and tea." for number in range(60))
    async with alice.mcp() as client:
        added = await call(client, "add_document", collection_id=collection, text=text, name="long.md", wait=True)
        target = {"collection_id": collection, "document_id": added["document"]["id"]}
        pages, offset = [], 0
        while offset is not None:
            page = await call(client, "read_document", **target, offset=offset, limit=300)
            assert len(page["text"]) <= 300
            pages.append(page["text"])
            offset = page["next_offset"]
        whole = await call(client, "read_document", **target)
        beyond = await refusal(client, "read_document", **target, offset=1_000_000)
    assert len(pages) > 3
    assert "".join(pages) == whole["text"]
    assert whole["text"].split() == text.split()
    assert "Start at 0" in beyond


async def test_adding_the_same_text_again_changes_nothing_and_another_text_is_refused(
    alice: Person, shelf: Shelf
) -> None:
    target = {"collection_id": shelf.collection, "name": shelf.name}
    async with alice.mcp() as client:
        again = await call(client, "add_document", **target, text=shelf.text)
        said = await refusal(client, "add_document", **target, text="other")
    assert again["document"]["id"] == shelf.document
    assert again["searchable"] is True
    assert said.endswith("Choose another name: documents are not overwritten.")


async def test_waiting_tells_how_far_it_is(alice: Person) -> None:
    collection = await alice.collection()
    told: list[tuple[float, float | None, str | None]] = []

    async def hear(progress: float, total: float | None, message: str | None) -> None:
        told.append((progress, total, message))

    arguments = {"collection_id": collection, "text": uuid.uuid4().hex, "wait": True, "wait_seconds": 60}
    async with alice.mcp() as client:
        answer = await client.call_tool("add_document", arguments, progress_handler=hear)
    assert answer.structured_content is not None
    assert answer.structured_content["searchable"] is True
    values = [progress for progress, _, _ in told]
    assert values == sorted(set(values)), "progress must grow"
    assert told[0][1] == 60
    assert "parse" in (told[0][2] or "")


async def test_a_document_that_fails_is_a_failure_of_the_call(alice: Person) -> None:
    collection = await alice.collection()
    async with alice.mcp() as client:
        said = await refusal(
            client, "add_document", collection_id=collection, text="no picture", name="x.png", wait=True
        )
        listed = await call(client, "list_documents", collection_id=collection)
        target = {"collection_id": collection, "document_id": listed["items"][0]["id"]}
        unread = await refusal(client, "read_document", **target)
        status = await call(client, "document_status", **target)
    assert "x.png was added as" in said
    assert "has no text to read: its status is FAILED" in unread
    assert status["searchable_by"] == []
    assert status["document"]["error_code"]
    assert status["summary"]


async def test_the_status_of_a_searchable_document_names_its_stages(alice: Person, shelf: Shelf) -> None:
    async with alice.mcp() as client:
        status = await call(client, "document_status", collection_id=shelf.collection, document_id=shelf.document)
    assert status["searchable_by"] == ["vector", "fulltext"]
    assert {stage["kind"] for stage in status["stages"]} == {"parse", "vector", "fulltext"}
    assert all(stage["why"] for stage in status["stages"])


@pytest.mark.parametrize("sources", [{}, {"text": "a", "url": "https://example.org"}, {"text": "  "}])
async def test_a_document_has_exactly_one_source(alice: Person, shelf: Shelf, sources: dict[str, str]) -> None:
    async with alice.mcp() as client:
        said = await refusal(client, "add_document", collection_id=shelf.collection, **sources)
    assert said.startswith("Give either text or url")


@pytest.mark.parametrize(
    ("tool", "arguments", "said"),
    [
        ("search_collection", {"collection_id": "col0", "query": "x"}, "Call list_collections for the ids"),
        ("search_collection", {"collection_id": "My notes", "query": "x"}, "is no id of a collection"),
        ("search_collection", {"collection_id": "col0"}, "query: is required"),
        ("search_collection", {"collection_id": "col0", "query": "x", "topk": 0}, "topk: input should be greater"),
        ("search_collection", {"collection_id": "col0", "query": "x", "k": 1}, "k: there is no such argument"),
        ("list_documents", {"collection_id": "col0"}, "Call list_collections for the ids"),
        ("read_document", {"collection_id": "col0", "document_id": "../x"}, "is no id of a document"),
        ("add_document", {"collection_id": "col0", "text": "x"}, "Call list_collections for the ids"),
        ("web_search", {}, "give a query, or a domain in search_llms_txt"),
        ("web_read", {"url_list": []}, "url_list: list should have at least 1 item"),
        ("no_such_tool", {}, "Unknown tool: 'no_such_tool'"),
    ],
)
async def test_a_failure_says_what_to_do(alice: Person, tool: str, arguments: dict[str, Any], said: str) -> None:
    async with alice.mcp() as client:
        assert said in await refusal(client, tool, **arguments)


async def test_a_document_of_another_collection_is_not_found(alice: Person, shelf: Shelf) -> None:
    other = await alice.collection()
    async with alice.mcp() as client:
        for tool in ("read_document", "document_status"):
            said = await refusal(client, tool, collection_id=other, document_id=shelf.document)
            assert said.endswith("Call list_documents with the collection's id for those there are.")


async def test_who_may_only_read_adds_nothing(make_person: Callable[..., Awaitable[Person]]) -> None:
    reader = await make_person("ro")
    async with reader.mcp() as client:
        said = await refusal(client, "add_document", collection_id="col0123456789abcdef", text="x")
        assert (await call(client, "list_collections"))["items"] == []
    assert said.endswith("Use the API key of a user who may do this.")


async def test_a_long_search_does_not_hold_up_others(alice: Person, shelf: Shelf) -> None:
    async with alice.mcp() as client:
        answers = await asyncio.gather(
            *(
                call(client, "search_collection", collection_id=shelf.collection, query=f"tea {number}")
                for number in range(12)
            )
        )
    assert [answer["query"] for answer in answers] == [f"tea {number}" for number in range(12)]
