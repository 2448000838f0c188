"""Resources and prompts."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from mcp import MCPError

if TYPE_CHECKING:
    from tests.integration.mcp.conftest import Person, Shelf

COLLECTION = "aperag://collections/{collection_id}"
DOCUMENTS = "aperag://collections/{collection_id}/documents"
DOCUMENT = "aperag://collections/{collection_id}/documents/{document_id}"


async def test_resources_and_templates_are_listed(alice: Person) -> None:
    async with alice.mcp() as client:
        resources = {str(it.uri): it for it in await client.list_resources()}
        templates = {it.uri_template for it in await client.list_resource_templates()}
    assert set(resources) == {"aperag://usage-guide", "aperag://collections"}
    assert resources["aperag://usage-guide"].mime_type == "text/markdown"
    assert templates == {COLLECTION, DOCUMENTS, DOCUMENT}


async def test_the_usage_guide_names_every_tool(alice: Person) -> None:
    async with alice.mcp() as client:
        guide = (await client.read_resource("aperag://usage-guide"))[0].text
        tools = await client.list_tools()
    assert all(f"`{tool.name}" in guide for tool in tools)


async def test_collections_and_documents_can_be_attached(alice: Person, shelf: Shelf) -> None:
    names = {"collection_id": shelf.collection, "document_id": shelf.document}
    async with alice.mcp() as client:
        collections = json.loads((await client.read_resource("aperag://collections"))[0].text)
        collection = json.loads((await client.read_resource(COLLECTION.format(**names)))[0].text)
        documents = json.loads((await client.read_resource(DOCUMENTS.format(**names)))[0].text)
        document = (await client.read_resource(DOCUMENT.format(**names)))[0]
    assert [it["id"] for it in collections["items"]] == [shelf.collection]
    assert collection["id"] == shelf.collection
    assert [it["id"] for it in documents["items"]] == [shelf.document]
    assert document.mime_type == "text/markdown"
    assert "Green tea is not oxidised" in document.text


@pytest.mark.parametrize(
    ("uri", "said"),
    [
        ("aperag://collections/col0", "Call list_collections"),
        ("aperag://collections/col0/documents", "Call list_collections"),
        ("aperag://nowhere", "Resource not found"),
    ],
)
async def test_what_is_not_there_is_an_error_that_says_so(alice: Person, uri: str, said: str) -> None:
    async with alice.mcp() as client:
        with pytest.raises(MCPError, match=said):
            await client.read_resource(uri)


async def test_the_assistants_prompt_names_the_tools_it_needs(alice: Person) -> None:
    async with alice.mcp() as client:
        assert [it.name for it in await client.list_prompts()] == ["search_assistant"]
        (message,) = (await client.get_prompt("search_assistant")).messages
    assert message.role == "user"
    assert "search_collection" in message.content.text
