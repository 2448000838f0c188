"""The gateway's /mcp/: what goes through to the MCP service, what comes back, and what stays."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from aperag_api.edge.mcp import endpoints
from aperag_api.edge.mcp.proxy import McpProxy
from aperag_api.kernel import errors
from aperag_api.kernel.auth import Authentication
from aperag_api.kernel.http.rates import Rates
from aperag_api.kernel.http.settings import RateSettings
from aperag_api.kernel.limits import BodyLimit
from aperag_common.http.front import Front
from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request
    from starlette.responses import Response

LIMIT = 10_000


@dataclass(slots=True)
class Upstream:
    """Plays the MCP service; streams the second event once ``go_on`` is set."""

    go_on: asyncio.Event = field(default_factory=asyncio.Event)
    ended: asyncio.Event = field(default_factory=asyncio.Event)

    async def answer(self, request: Request) -> Response:
        if request.headers.get("x-stream"):
            return StreamingResponse(self._events(), media_type="text/event-stream")
        body = (await request.body()).decode()
        told = {"method": request.method, "url": str(request.url), "headers": request.headers.items(), "body": body}
        return JSONResponse(told, 207, headers={"Mcp-Session-Id": "s1", "X-Odd": "ü"})

    async def _events(self) -> AsyncIterator[bytes]:
        try:
            yield b"data: one\n\n"
            await self.go_on.wait()
            yield b"data: two\n\n"
        finally:
            self.ended.set()


class Nobody:
    """Knows no key: what is spoken here is the tools' to judge."""

    async def caller_of(self, _: str) -> None:
        return None


@pytest.fixture
def upstream() -> Upstream:
    return Upstream()


@pytest_asyncio.fixture
async def service(upstream: Upstream) -> AsyncIterator[HttpServer]:
    routes = [Route("/mcp/", upstream.answer, methods=["GET", "POST", "DELETE"])]
    server = HttpServer(HttpSettings(port=0), Starlette(routes=routes))
    await server.start()
    yield server
    upstream.go_on.set()
    await server.stop()


async def gateway(mcp_url: str) -> tuple[HttpServer, McpProxy]:
    app = FastAPI()
    proxy = McpProxy(mcp_url)
    app.state.services = {McpProxy: proxy}
    app.state.authentication = Authentication(Nobody(), (Nobody(),), Front(), frozenset())
    app.state.rates = Rates(RateSettings(), Front.of(()))
    app.add_middleware(BodyLimit, limit=LIMIT)
    errors.install(app)
    app.include_router(endpoints.router)
    server = HttpServer(HttpSettings(port=0), app)
    await server.start()
    return server, proxy


@pytest_asyncio.fixture
async def client(service: HttpServer) -> AsyncIterator[httpx.AsyncClient]:
    server, proxy = await gateway(f"http://127.0.0.1:{service.port}")
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, timeout=30, trust_env=False) as http:
        yield http
    await server.stop()
    await proxy.close()


@pytest.mark.parametrize("path", ["/mcp/", "/mcp"])
@pytest.mark.parametrize("method", ["GET", "POST", "DELETE"])
async def test_requests_reach_the_service_whole(client: httpx.AsyncClient, method: str, path: str) -> None:
    content = None if method == "GET" else b'{"a": 1}'
    headers = {"Authorization": "Bearer sk-1", "Mcp-Protocol-Version": "2025-11-25", "Origin": "http://localhost"}
    answer = await client.request(method, f"{path}?x=1&x=2", content=content, headers=headers)
    assert answer.status_code == 207
    told: dict[str, Any] = answer.json()
    seen = dict(told["headers"])
    assert told["method"] == method
    assert told["url"].endswith("/mcp/?x=1&x=2")
    assert told["body"] == ("" if content is None else content.decode())
    assert seen["authorization"] == "Bearer sk-1"
    assert seen["mcp-protocol-version"] == "2025-11-25"
    assert seen["origin"] == "http://localhost"
    assert seen["host"] == str(client.base_url).removeprefix("http://").rstrip("/"), "the service judges the host"


async def test_answers_come_back_with_their_headers(client: httpx.AsyncClient) -> None:
    answer = await client.post("/mcp/")
    assert answer.headers["mcp-session-id"] == "s1"
    assert answer.headers["x-odd"] == "ü"
    assert answer.headers.get_list("content-length") == [str(len(answer.content))]


async def test_what_concerns_this_hop_or_the_gateway_alone_stays_here(client: httpx.AsyncClient) -> None:
    headers = {"Cookie": "session=secret", "Connection": "keep-alive, x-own", "X-Own": "1", "TE": "trailers"}
    seen = dict((await client.post("/mcp/", headers=headers)).json()["headers"])
    assert {"cookie", "x-own", "te"} & set(seen) == set()


async def test_events_arrive_as_they_are_sent(client: httpx.AsyncClient, upstream: Upstream) -> None:
    async with client.stream("POST", "/mcp/", headers={"X-Stream": "1"}) as answer:
        parts = answer.aiter_bytes()
        assert await anext(parts) == b"data: one\n\n"
        upstream.go_on.set()
        assert b"".join([part async for part in parts]) == b"data: two\n\n"
    assert answer.headers["content-type"].startswith("text/event-stream")


async def test_a_client_that_goes_away_is_gone_for_the_service_too(
    client: httpx.AsyncClient, upstream: Upstream
) -> None:
    async with client.stream("POST", "/mcp/", headers={"X-Stream": "1"}) as answer:
        await anext(answer.aiter_bytes())

    async def ended() -> bool:
        return upstream.ended.is_set()

    await until(ended)


async def test_a_body_that_is_too_large_is_refused_while_it_arrives(client: httpx.AsyncClient) -> None:
    async def endless() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 1_000

    assert (await client.post("/mcp/", content=endless())).status_code == 413
    assert (await client.post("/mcp/", content=b"x" * (LIMIT + 1))).status_code == 413


async def test_a_service_that_is_away_is_an_error_that_says_so() -> None:
    server, proxy = await gateway("http://127.0.0.1:1")
    async with httpx.AsyncClient(timeout=30, trust_env=False) as http:
        answer = await http.post(f"http://127.0.0.1:{server.port}/mcp/", json={})
    await server.stop()
    await proxy.close()
    assert answer.status_code == 503
    assert answer.headers["retry-after"]
    assert answer.json()["error_code"] == "UPSTREAM_UNAVAILABLE"
    assert answer.json()["message"] == "The MCP service does not answer"
