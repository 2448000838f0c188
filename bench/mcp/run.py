"""``bench mcp``: the same searches by REST, by MCP, and by MCP through the gateway, in turns, by one client."""

from __future__ import annotations

import time
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import cycle, islice
from typing import TYPE_CHECKING, Any

import httpx2
from mcp import Client as McpClient
from mcp.client.streamable_http import streamable_http_client

from aperag_testing.client import Client
from bench.errors import BenchError
from bench.harness.database import database
from bench.harness.stack import running_stack
from bench.measure.samples import percentile
from bench.report.figures import Findings, Row, Section, at_most
from bench.search import fill, material

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator

    from aperag_testing.stack import Stack

    Ask = Callable[[str], Awaitable[list[dict[str, Any]]]]

TOPK = 5
SIMILARITY = 0.2
WARM_UP = 20
TARGET_MS = 10.0
UNBUILT = ("graph", "summary", "vision")
REST, MCP, PROXIED = "REST", "MCP", "MCP through the gateway"


@dataclass(frozen=True, slots=True)
class Options:
    """``chunks`` make the collection, ``searches`` are measured each way."""

    chunks: int
    searches: int


@dataclass(slots=True)
class Times:
    """Milliseconds of each way, by the number of the search: the same number is the same query."""

    by_way: dict[str, list[float]] = field(default_factory=dict)

    def added(self, way: str) -> list[float]:
        return [mcp - rest for mcp, rest in zip(self.by_way[way], self.by_way[REST], strict=True)]


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    tell("starting a stack")
    with running_stack() as stack:
        async with Client(stack.url, stack.api_key) as rest:
            collection = await _fill(stack, rest, options.chunks, tell)
            async with (
                _mcp(str(stack.state()["mcp_url"]), stack) as direct,
                _mcp(f"{stack.url}/mcp/", stack) as proxied,
            ):
                ways: dict[str, Ask] = {
                    REST: _by_rest(rest, collection),
                    MCP: _by_mcp(direct, collection),
                    PROXIED: _by_mcp(proxied, collection),
                }
                queries = cycle(material.queries())
                await _measure(ways, islice(queries, WARM_UP))
                tell(f"{options.searches} searches each way")
                times = await _measure(ways, islice(queries, options.searches))
    target = at_most("added by MCP at p50, ms", percentile(times.added(MCP), 0.5), TARGET_MS)
    return Findings([Section("searches", [_row(times, way) for way in ways])], [target])


async def _fill(stack: Stack, client: Client, chunks: int, tell: Callable[[str], None]) -> str:
    tell(f"embedding {chunks} chunks")
    originals = await material.originals(chunks)
    collection = await client.collection(f"{chunks} chunks")
    async with database(stack) as engine:
        await fill.fill(engine, collection, originals, chunks)
    return collection


@asynccontextmanager
async def _mcp(url: str, stack: Stack) -> AsyncIterator[McpClient]:
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with (
        httpx2.AsyncClient(headers=headers, timeout=60, trust_env=False) as http,
        McpClient(streamable_http_client(url, http_client=http)) as client,
    ):
        yield client


def _by_rest(client: Client, collection: str) -> Ask:
    async def ask(query: str) -> list[dict[str, Any]]:
        legs = {"vector_search": {"topk": TOPK, "similarity": SIMILARITY}, "fulltext_search": {"topk": TOPK}}
        body = {"query": query, "save_to_history": False, **legs}
        answer = await client.json("POST", f"/collections/{collection}/searches", json=body)
        return list(answer["items"])[:TOPK]

    return ask


def _by_mcp(client: McpClient, collection: str) -> Ask:
    off = {f"use_{kind}_index": False for kind in UNBUILT}

    async def ask(query: str) -> list[dict[str, Any]]:
        arguments = {"collection_id": collection, "query": query, "topk": TOPK, **off}
        answer = await client.call_tool("search_collection", arguments)
        if answer.is_error or answer.structured_content is None:
            message = f"the search {query!r} failed over MCP"
            raise BenchError(message, hint=str(answer.content))
        return list(answer.structured_content["items"])

    return ask


async def _measure(ways: dict[str, Ask], queries: Iterator[str]) -> Times:
    """Each query in all ways, one after the other, beginning with another way each time."""
    times = Times({way: [] for way in ways})
    order = list(ways)
    for query in queries:
        expected = await ways[REST](query)  # not measured: the gateway remembers how the query was encoded
        for way in order:
            begun = time.perf_counter()
            found = await ways[way](query)
            times.by_way[way].append((time.perf_counter() - begun) * 1000)
            if [item["content"] for item in found] != [item["content"] for item in expected]:
                message = f"{way} found something else than REST for {query!r}"
                raise BenchError(message, hint="results must be the same for their times to be compared")
        order.append(order.pop(0))
    return times


def _row(times: Times, way: str) -> Row:
    taken, added = times.by_way[way], times.added(way)
    return {
        "way": way,
        "p50 ms": percentile(taken, 0.5),
        "p95 ms": percentile(taken, 0.95),
        "added p50 ms": percentile(added, 0.5) if way != REST else None,
        "added p95 ms": percentile(added, 0.95) if way != REST else None,
    }
