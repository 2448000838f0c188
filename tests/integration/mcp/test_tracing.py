"""One trace from an MCP client's call to what the gateway did for it."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from fastmcp.client import Client as FastClient
from fastmcp.client.transports import StdioTransport
from tests.integration.mcp.test_clients import APERAG, environment

from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import Callable

    from opentelemetry.sdk.trace import ReadableSpan
    from tests.integration.mcp.conftest import Person, Shelf

    from aperag_testing.stack import Stack

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
OTHER_TRACE, OTHER_SPAN = "4bf92f3577b34da6a3ce929d0e0e4736", "00f067aa0ba902b7"


def traceparent(trace: str, span: str) -> str:
    return f"00-{trace}-{span}-01"


async def search(url: str, person: Person, shelf: Shelf, *, meta: dict[str, Any] | None = None, **headers: str) -> None:
    arguments = {"collection_id": shelf.collection, "query": "tea"}
    params = {"name": "search_collection", "arguments": arguments, "_meta": meta or {}}
    body = {"jsonrpc": "2.0", "id": 1, "method": "tools/call", "params": params}
    accept = {"Accept": "application/json, text/event-stream", "Authorization": f"Bearer {person.key}"}
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        answer = await http.post(f"{url}/mcp/", json=body, headers={**accept, **headers})
    assert '"isError":true' not in answer.text


async def told(stack: Stack, trace: str, enough: Callable[[list[dict[str, Any]]], bool]) -> list[dict[str, Any]]:
    """Of all services but MCP, as the gateway keeps them: they come in batches, those that ended first come first."""
    headers = {"Authorization": f"Bearer {stack.api_key}"}
    async with httpx.AsyncClient(base_url=f"{stack.url}/api/v1", headers=headers, timeout=30, trust_env=False) as http:

        async def found() -> list[dict[str, Any]]:
            answer = await http.get(f"/traces/{trace}")
            spans = answer.json().get("spans", []) if answer.is_success else []
            return spans if enough(spans) else []

        return await until(found)


async def has_child(stack: Stack, trace: str, parent: str) -> None:
    """Wait for a span below ``parent``."""
    await told(stack, trace, lambda spans: any(span["parent_id"] == parent for span in spans))


def hexadecimal(span: ReadableSpan) -> tuple[str, str]:
    context = span.get_span_context()
    assert context is not None
    return f"{context.trace_id:032x}", f"{context.span_id:016x}"


def parent_of(span: ReadableSpan) -> str | None:
    return f"{span.parent.span_id:016x}" if span.parent else None


def named(spans: list[ReadableSpan], name: str) -> ReadableSpan:
    return next(span for span in spans if span.name == name)


async def test_a_call_is_one_trace_from_the_client_to_the_gateway(
    stack: Stack, alice: Person, shelf: Shelf, replica: Callable[..., Any]
) -> None:
    async with replica() as other:
        await search(other.url, alice, shelf, traceparent=traceparent(TRACE, SPAN))
        spans = other.spans()
    tool = named(spans, "tools/call search_collection")
    request = next(span for span in spans if parent_of(span) == SPAN)
    outgoing = next(span for span in spans if parent_of(span) == hexadecimal(tool)[1])
    assert {hexadecimal(span)[0] for span in (request, tool, outgoing)} == {TRACE}
    assert parent_of(tool) == hexadecimal(request)[1]
    await has_child(stack, TRACE, hexadecimal(outgoing)[1])
    assert tool.attributes is not None
    assert tool.attributes["gen_ai.tool.name"] == "search_collection"


async def test_the_context_that_a_message_names_wins_over_that_of_its_request(
    alice: Person, shelf: Shelf, replica: Callable[..., Any]
) -> None:
    meta = {"traceparent": traceparent(OTHER_TRACE, OTHER_SPAN)}
    async with replica() as other:
        await search(other.url, alice, shelf, meta=meta, traceparent=traceparent(TRACE, SPAN))
        tool = named(other.spans(), "tools/call search_collection")
    assert hexadecimal(tool)[0] == OTHER_TRACE
    assert parent_of(tool) == OTHER_SPAN
    assert [f"{link.context.trace_id:032x}" for link in tool.links] == [TRACE]


async def test_a_call_without_a_context_is_a_trace_of_its_own(
    alice: Person, shelf: Shelf, replica: Callable[..., Any]
) -> None:
    async with replica() as other:
        await search(other.url, alice, shelf)
        await search(other.url, alice, shelf)
        traces = {hexadecimal(span)[0] for span in other.spans()}
    assert len(traces) == 2


@pytest.mark.parametrize(
    "switch", [{"otel_mcp_enabled": False}, {"otel_enabled": False}], ids=lambda it: next(iter(it))
)
@pytest.mark.parametrize("place", ["header", "message"])
async def test_without_spans_of_its_own_the_callers_trace_is_passed_on(
    stack: Stack, alice: Person, shelf: Shelf, replica: Callable[..., Any], switch: dict[str, bool], place: str
) -> None:
    trace = uuid.uuid4().hex
    named_by = traceparent(trace, SPAN)
    given: dict[str, Any] = {"meta": {"traceparent": named_by}} if place == "message" else {"traceparent": named_by}
    async with replica(**switch) as other:
        await search(other.url, alice, shelf, **given)
        assert other.spans() == []
    await has_child(stack, trace, SPAN)


async def test_a_failed_call_is_a_failed_span(alice: Person, replica: Callable[..., Any]) -> None:
    async with replica() as other:
        async with alice.mcp(f"{other.url}/mcp/") as client:
            await client.call_tool("list_documents", {"collection_id": "col0"}, raise_on_error=False)
        tool = named(other.spans(), "tools/call list_documents")
    assert not tool.status.is_ok
    assert tool.attributes is not None
    assert tool.attributes["error.type"] == "GatewayFailure"


async def test_through_the_gateway_it_is_the_same_trace(stack: Stack, alice: Person, shelf: Shelf) -> None:
    trace = "5bf92f3577b34da6a3ce929d0e0e4736"
    await search(stack.url, alice, shelf, traceparent=traceparent(trace, SPAN))
    names = {"POST /mcp/", "POST /api/v1/collections/{collection_id}/searches"}
    await told(stack, trace, lambda spans: {span["name"] for span in spans} >= names)


async def test_a_server_that_a_client_starts_itself_sends_its_spans_to_the_stack(stack: Stack, shelf: Shelf) -> None:
    trace, span = uuid.uuid4().hex, OTHER_SPAN
    meta = {"traceparent": traceparent(trace, span)}
    transport = StdioTransport(command=APERAG, args=["mcp"], env=environment(stack), keep_alive=False)
    async with FastClient(transport, timeout=60) as client:
        await client.call_tool("list_collections", {}, meta=meta)
    spans = await told(stack, trace, lambda spans: {"mcp", "api"} <= {it["service"] for it in spans})
    tool = next(it for it in spans if it["name"] == "tools/call list_collections")
    assert (tool["service"], tool["parent_id"]) == ("mcp", span)
