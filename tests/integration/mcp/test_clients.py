"""The clients that people use: fastmcp's and the official SDK's, over HTTP, through the gateway and over stdio."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx2
import pytest
from fastmcp.client import Client as FastClient
from fastmcp.client.transports import StdioTransport
from mcp import Client as SdkClient
from mcp.client.stdio import StdioServerParameters
from mcp.client.streamable_http import streamable_http_client

if TYPE_CHECKING:
    from collections.abc import Callable

    from tests.integration.mcp.conftest import Person, Shelf

    from aperag_testing.site import Site
    from aperag_testing.stack import Stack

APERAG = str(Path(sys.executable).with_name("aperag"))
NOTHING_FOUND = "<html><body><div class='no-results'>No results.</div></body></html>"
MODES = ["legacy", "auto"]
"""The handshake of earlier revisions, and the newest that both sides know."""


def environment(stack: Stack) -> dict[str, str]:
    """As a client starts its servers: with little more than a path."""
    return {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "APERAG_HOME": str(stack.home)}  # noqa: TID251


def ways(stack: Stack) -> list[str]:
    return [str(stack.state()["mcp_url"]), f"{stack.url}/mcp/", f"{stack.url}/mcp"]


async def tour(client: SdkClient, shelf: Shelf, site: Site) -> dict[str, Any]:
    """Everything there is, once; what the search found."""
    await client.list_resources()
    await client.list_resource_templates()
    assert [it.name for it in (await client.list_prompts()).prompts] == ["search_assistant"]
    assert (await client.get_prompt("search_assistant")).messages
    assert (await client.read_resource("aperag://usage-guide")).contents
    target = {"collection_id": shelf.collection, "document_id": shelf.document}
    site.page("/duckduckgo", NOTHING_FOUND)
    calls: dict[str, dict[str, Any]] = {
        "list_collections": {},
        "list_documents": {"collection_id": shelf.collection},
        "read_document": target,
        "document_status": target,
        "add_document": {"collection_id": shelf.collection, "text": shelf.text, "name": shelf.name},
        "search_collection": {"collection_id": shelf.collection, "query": "oxidised tea"},
        "web_search": {"query": "tea"},
        "web_read": {"url_list": [site.page("/tea", "Green tea", "text/plain")]},
    }
    found: dict[str, Any] = {}
    for name, arguments in calls.items():
        answer = await client.call_tool(name, arguments)
        assert not answer.is_error, (name, answer)
        found[name] = answer.structured_content
    refused = await client.call_tool("search_chat_files", {"chat_id": "chat0123456789abcdef", "query": "x"})
    assert refused.is_error
    (said,) = refused.content
    assert said.text.endswith(("Do without this tool.", "Use the id of a chat of yours."))
    listed = {it.name for it in (await client.list_tools()).tools}
    assert set(found) | {"search_chat_files"} == listed
    assert found["web_search"]["results"] == []
    assert found["web_read"]["results"][0]["content"] == "Green tea"
    return dict(found["search_collection"])


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("way", [0, 1, 2], ids=["service", "gateway", "gateway-without-slash"])
async def test_the_official_client_over_http(
    stack: Stack, alice: Person, shelf: Shelf, site: Site, way: int, mode: str
) -> None:
    headers = {"Authorization": f"Bearer {alice.key}"}
    async with httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http:
        transport = streamable_http_client(ways(stack)[way], http_client=http)
        async with SdkClient(transport, mode=mode, read_timeout_seconds=60) as client:
            found = await tour(client, shelf, site)
    assert found["items"][0]["metadata"]["document_id"] == shelf.document


@pytest.mark.parametrize("mode", MODES)
async def test_the_official_client_over_stdio(stack: Stack, alice: Person, shelf: Shelf, site: Site, mode: str) -> None:
    env = environment(stack) | {"APERAG_API_KEY": alice.key}
    server = StdioServerParameters(command=APERAG, args=["mcp"], env=env)
    async with SdkClient(server, mode=mode, read_timeout_seconds=60) as client:
        found = await tour(client, shelf, site)
    assert found["items"][0]["metadata"]["document_id"] == shelf.document


async def test_fastmcps_client_over_stdio_with_the_key_of_the_stack(stack: Stack) -> None:
    transport = StdioTransport(command=APERAG, args=["mcp"], env=environment(stack), keep_alive=False)
    async with FastClient(transport, timeout=60) as client:
        assert len(await client.list_tools()) == 9
        answer = await client.call_tool("list_collections", {})
    assert answer.structured_content is not None


async def test_fastmcps_client_through_the_gateway_hears_progress(stack: Stack, alice: Person) -> None:
    collection = await alice.collection()
    told: list[str | None] = []

    async def hear(_progress: float, _total: float | None, message: str | None) -> None:
        told.append(message)

    async with alice.mcp(f"{stack.url}/mcp/") as client:
        arguments = {"collection_id": collection, "text": "Green tea", "wait": True}
        await client.call_tool("add_document", arguments, progress_handler=hear)
    assert told


async def test_nothing_but_the_protocol_is_on_standard_output(stack: Stack) -> None:
    """Also where calls fail and logs are written."""
    hello = {
        "protocolVersion": "2025-06-18",
        "capabilities": {},
        "clientInfo": {"name": "test", "version": "1"},
    }
    sent = [
        {"jsonrpc": "2.0", "id": 1, "method": "initialize", "params": hello},
        {"jsonrpc": "2.0", "method": "notifications/initialized"},
        {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
        {"jsonrpc": "2.0", "id": 3, "method": "tools/call", "params": {"name": "search_collection", "arguments": {}}},
        {"jsonrpc": "2.0", "id": 4, "method": "tools/call", "params": {"name": "list_collections", "arguments": {}}},
    ]
    env = environment(stack) | {"APERAG_TELEMETRY__LOG_LEVEL": "DEBUG"}
    process = await asyncio.create_subprocess_exec(
        APERAG, "mcp", env=env, stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    assert process.stdin is not None
    assert process.stdout is not None
    answered: list[int] = []
    errors = asyncio.create_task(process.stderr.read()) if process.stderr else None
    process.stdin.writelines(json.dumps(message).encode() + b"\n" for message in sent)
    async with asyncio.timeout(60):
        while set(answered) != {1, 2, 3, 4}:
            message = json.loads(await process.stdout.readline())
            assert message["jsonrpc"] == "2.0"
            answered += [message["id"]] if "id" in message else []
        process.stdin.close()
        rest = await process.stdout.read()
        await process.wait()
    assert rest.strip() == b""
    assert process.returncode == 0
    assert errors is not None
    logged = await errors
    assert b"search_collection" in logged, "the logs are on standard error"
    assert stack.api_key.encode() not in logged


async def test_a_server_that_cannot_know_its_gateway_says_so(tmp_path: Path) -> None:
    env = {"PATH": os.environ["PATH"], "HOME": os.environ["HOME"], "APERAG_HOME": str(tmp_path)}  # noqa: TID251
    process = await asyncio.create_subprocess_exec(
        APERAG, "mcp", env=env, stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    output, errors = await process.communicate()
    assert output == b""
    assert process.returncode == 3
    assert b"aperag up" in errors


async def test_people_never_see_each_others_collections(
    stack: Stack, alice: Person, mallory: Person, replica: Callable[..., Any]
) -> None:
    """Many calls of both at once, over one service and its one pool of connections."""
    own = {person.key: await person.collection(f"of {person.key[-4:]}") for person in (alice, mallory)}

    async def look(person: Person, url: str | None) -> None:
        async with person.mcp(url) as client:
            for _ in range(5):
                answers = await asyncio.gather(*(client.call_tool("list_collections", {}) for _ in range(4)))
                for answer in answers:
                    assert answer.structured_content is not None
                    assert [it["id"] for it in answer.structured_content["items"]] == [own[person.key]]
            for other, collection in own.items():
                if other != person.key:
                    arguments = {"collection_id": collection, "query": "tea"}
                    refused = await client.call_tool("search_collection", arguments, raise_on_error=False)
                    assert "not found" in refused.content[0].text

    async with replica(mcp_connections=2) as narrow:
        urls = [None, f"{stack.url}/mcp/", f"{narrow.url}/mcp/"]
        await asyncio.gather(*(look(person, url) for person in (alice, mallory) for url in urls for _ in range(2)))


async def test_two_replicas_serve_one_client_in_turns(
    alice: Person, shelf: Shelf, site: Site, replica: Callable[..., Any]
) -> None:
    """No request needs what another one left behind: not even the handshake."""
    async with replica() as first, replica() as second, httpx2.AsyncClient(timeout=60, trust_env=False) as http:
        turn = 0

        async def alternate(request: httpx2.Request) -> None:
            nonlocal turn
            target = httpx2.URL((first, second)[turn % 2].url)
            request.url = request.url.copy_with(port=target.port)
            request.headers["host"] = f"127.0.0.1:{target.port}"
            turn += 1

        http.headers["Authorization"] = f"Bearer {alice.key}"
        http.event_hooks = {"request": [alternate]}
        async with SdkClient(streamable_http_client(f"{first.url}/mcp/", http_client=http), mode="legacy") as client:
            found = await tour(client, shelf, site)
        assert found["items"]
        served = [sum(span.name.startswith("tools/call") for span in it.spans()) for it in (first, second)]
    assert min(served) > 0
