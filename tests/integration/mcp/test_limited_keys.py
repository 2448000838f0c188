"""Agents with keys that may do less than their owner."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastmcp import Client
    from tests.integration.mcp.conftest import Person, Shelf


async def limited(person: Person, **limits: Any) -> Person:
    """The same person with another key."""
    answer = await person.rest.post("/apikeys", json=limits)
    assert answer.status_code == 200, answer.text
    return replace(person, key=answer.json()["key"])


async def refusal(client: Client[Any], tool: str, **arguments: Any) -> str:
    answer = await client.call_tool(tool, arguments, raise_on_error=False)
    assert answer.is_error, answer
    return str(answer.content[0].text)


async def test_a_reading_key_searches_and_is_told_why_it_adds_nothing(alice: Person, shelf: Shelf) -> None:
    agent = await limited(alice, scope="read")
    async with agent.mcp() as client:
        found = await client.call_tool("search_collection", {"collection_id": shelf.collection, "query": "green tea"})
        assert found.structured_content is not None
        assert [item["source"] for item in found.structured_content["items"]] == [shelf.name]
        told = await refusal(client, "add_document", collection_id=shelf.collection, text="no", name="no.md")
    assert "read and search only" in told
    assert "scope 'all'" in told


async def test_a_key_for_one_collection_knows_no_other(alice: Person, shelf: Shelf) -> None:
    elsewhere = await alice.collection("Elsewhere")
    agent = await limited(alice, collection_ids=[shelf.collection])
    async with agent.mcp() as client:
        listed = (await client.call_tool("list_collections", {})).structured_content
        assert listed is not None
        assert [item["id"] for item in listed["items"]] == [shelf.collection]
        told = await refusal(client, "search_collection", collection_id=elsewhere, query="tea")
        assert "not found" in told
        assert "list_collections" in told
        added = await client.call_tool(
            "add_document", {"collection_id": shelf.collection, "text": "black tea", "name": "black.md"}
        )
        assert not added.is_error


async def test_a_subscriber_searches_and_reads_what_is_published(alice: Person, mallory: Person, shelf: Shelf) -> None:
    assert (await alice.rest.post(f"/collections/{shelf.collection}/sharing")).status_code == 204
    assert (await mallory.rest.post(f"/marketplace/collections/{shelf.collection}/subscribe")).status_code == 200
    async with mallory.mcp() as client:
        listed = (await client.call_tool("list_collections", {})).structured_content
        assert listed is not None
        assert [item["owner_username"] for item in listed["items"]] != [None]
        found = (
            await client.call_tool("search_collection", {"collection_id": shelf.collection, "query": "green tea"})
        ).structured_content
        assert found is not None
        assert [item["source"] for item in found["items"]] == [shelf.name]
        read = await client.call_tool(
            "read_document", {"collection_id": shelf.collection, "document_id": shelf.document}
        )
        assert "steeped at seventy degrees" in str(read.structured_content)
        told = await refusal(client, "add_document", collection_id=shelf.collection, text="no", name="no.md")
    assert "published by another user" in told
