"""The demonstration's end: the same collection, as an agent sees it over MCP."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx2
from mcp import Client, MCPError
from mcp.client.streamable_http import streamable_http_client

from aperag_cli.demo import samples
from aperag_cli.demo.errors import DemoFailed
from aperag_cli.demo.journey import FIRST_HITS, TITLE
from aperag_cli.demo.view import hits_table

if TYPE_CHECKING:
    from rich.console import Console

SECONDS = 60.0


async def ask_as_agent(console: Console, url: str, api_key: str) -> None:
    """With the official SDK's client; raises ``DemoFailed`` where a tool fails or misses what it must find."""
    headers = {"Authorization": f"Bearer {api_key}"}
    try:
        async with (
            httpx2.AsyncClient(headers=headers, timeout=SECONDS, trust_env=False) as http,
            Client(streamable_http_client(url, http_client=http)) as client,
        ):
            tools = [tool.name for tool in (await client.list_tools()).tools]
            console.print(f"\n[bold]An agent's view, over MCP at {url}[/]")
            console.print(f"{len(tools)} tools: {', '.join(tools)}")
            await _search(console, client)
    except (MCPError, httpx2.HTTPError) as err:
        message = f"the MCP service at {url} does not answer as it should"
        raise DemoFailed(message, hint=f"{err}\n  see `aperag logs mcp`") from err


async def _search(console: Console, client: Client) -> None:
    collections = (await _call(client, "list_collections", {}))["items"]
    console.print("list_collections: " + ", ".join(f"{it['title']} ({it['id']})" for it in collections))
    collection = next(it["id"] for it in collections if it["title"] == TITLE)
    question = samples.QUESTIONS[0]
    found = await _call(
        client, "search_collection", {"collection_id": collection, "query": question.query, "topk": FIRST_HITS}
    )
    console.print(hits_table(question, found["items"]))
    sources = [item["source"] for item in found["items"]]
    if question.expects not in sources:
        message = f"search_collection did not find {question.expects} for {question.query!r}"
        raise DemoFailed(message, hint=f"it found {', '.join(sources) or 'nothing'}")


async def _call(client: Client, tool: str, arguments: dict[str, Any]) -> dict[str, Any]:
    answer = await client.call_tool(tool, arguments)
    if answer.is_error or answer.structured_content is None:
        said = " ".join(part.text for part in answer.content if part.type == "text")
        message = f"the tool {tool} failed"
        raise DemoFailed(message, hint=f"{said}\n  see `aperag logs mcp`")
    return dict(answer.structured_content)
