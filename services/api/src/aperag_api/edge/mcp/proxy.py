"""Requests handed on to the MCP service, and its answers back, both as they stream."""

from __future__ import annotations

from typing import TYPE_CHECKING

import httpx
import structlog
from fastapi.responses import StreamingResponse

from aperag_common import errors
from aperag_common.outbound.client import trusted
from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from fastapi import Request
    from starlette.types import Receive, Scope, Send

log = structlog.get_logger(__name__)

PATH = "/mcp/"
CONNECT_SECONDS = 5.0
BETWEEN_HOPS = frozenset(
    {
        "connection",
        "keep-alive",
        "proxy-authenticate",
        "proxy-authorization",
        "te",
        "trailer",
        "transfer-encoding",
        "upgrade",
    }
)
KEPT_BACK = frozenset({"cookie"})
"""A session at the gateway is none of the MCP service's: its callers send keys."""


class McpProxy:
    """The Host and Origin headers go along: the MCP service judges them, whichever way a request comes."""

    def __init__(self, url: str) -> None:
        self._url = url.rstrip("/") + PATH
        # The bare transport: no cookies, no redirects, no proxies of the environment, no time-out on streams. A
        # connection serves one request: one that is closed under a message could not be sent again.
        limits = httpx.Limits(max_connections=None, max_keepalive_connections=0)
        self._transport = httpx.AsyncHTTPTransport(limits=limits, verify=trusted())

    async def forward(self, request: Request) -> StreamingResponse:
        outgoing = httpx.Request(
            request.method,
            self._url,
            params=request.url.query or None,
            headers=[
                *_passed(request.headers.items(), KEPT_BACK | set(propagate.inject())),
                *propagate.inject().items(),
            ],
            content=request.stream() if _has_body(request) else None,
            extensions={"timeout": httpx.Timeout(None, connect=CONNECT_SECONDS).as_dict()},
        )
        try:
            answer = await self._transport.handle_async_request(outgoing)
        except httpx.TransportError as err:
            log.warning("mcp.unreachable", error=repr(err))
            raise errors.UpstreamUnavailable("The MCP service does not answer") from err
        return _Relayed(answer)

    async def close(self) -> None:
        await self._transport.aclose()


class _Relayed(StreamingResponse):
    """The connection behind it is given back however it ends, also where the client has gone before it began."""

    def __init__(self, answer: httpx.Response) -> None:
        super().__init__(_body(answer), answer.status_code)
        self._answer = answer
        self.raw_headers = [
            (name.lower().encode("latin-1"), value.encode("latin-1"))
            for name, value in _passed(answer.headers.multi_items())
        ]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await super().__call__(scope, receive, send)
        finally:
            await self._answer.aclose()


async def _body(answer: httpx.Response) -> AsyncIterator[bytes]:
    """As it came, still compressed where it was."""
    try:
        async for part in answer.aiter_raw():
            yield part
    except httpx.TransportError as err:
        # Its headers are gone already: all that can still be said is that it ends here.
        log.warning("mcp.stream_lost", error=repr(err))


def _has_body(request: Request) -> bool:
    return "content-length" in request.headers or "transfer-encoding" in request.headers


def _passed(
    headers: Iterator[tuple[str, str]] | list[tuple[str, str]], besides: frozenset[str] | set[str] = frozenset()
) -> Iterator[tuple[str, str]]:
    """What is meant for the other end: not for this hop, and not of those that a connection names as its own."""
    found = list(headers)
    named = {
        token.strip().lower() for name, value in found if name.lower() == "connection" for token in value.split(",")
    }
    left_out = BETWEEN_HOPS | named | besides
    return ((name, value) for name, value in found if name.lower() not in left_out)
