"""Requests to a gateway that misbehaves, and what callers must never share."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from pydantic import SecretStr
from starlette.applications import Starlette
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings
from aperag_mcp.gateway.client import connect, id_of
from aperag_mcp.gateway.failures import GatewayFailure
from aperag_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

KEY = "sk-fallback"


@pytest_asyncio.fixture
async def url() -> AsyncIterator[str]:
    async def echo(request: Request) -> Response:
        answer = JSONResponse({"key": request.headers.get("authorization"), "cookie": request.headers.get("cookie")})
        answer.set_cookie("session", "somebody")
        return answer

    async def prose(_: Request) -> Response:
        return PlainTextResponse("hello")

    async def never(_: Request) -> Response:
        await asyncio.Event().wait()
        return Response()

    async def elsewhere(_: Request) -> Response:
        return Response(status_code=307, headers={"location": "http://127.0.0.1:1/api/v1/echo"})

    pages = {"echo": echo, "prose": prose, "never": never, "elsewhere": elsewhere}
    routes = [Route(f"/api/v1/{name}", page) for name, page in pages.items()]
    server = HttpServer(HttpSettings(port=0), Starlette(routes=routes))
    await server.start()
    yield f"http://127.0.0.1:{server.port}"
    await server.stop()


def settings(url: str, **values: Any) -> Settings:
    return Settings(_env_file=None, api_url=url, **{"api_key": SecretStr(KEY), **values})


async def test_a_call_without_a_key_is_made_with_the_fallback(url: str) -> None:
    async with connect(settings(url)) as gateway:
        assert (await gateway.get("echo"))["key"] == f"Bearer {KEY}"


@pytest.mark.parametrize("key", [None, SecretStr("")])
async def test_a_call_without_any_key_is_refused_before_it_is_sent(key: SecretStr | None) -> None:
    async with connect(settings("http://127.0.0.1:1", api_key=key)) as gateway:
        with pytest.raises(GatewayFailure, match=r"No API key was sent\. Send one as the header"):
            await gateway.get("echo")


async def test_cookies_are_not_kept_for_the_next_caller(url: str) -> None:
    async with connect(settings(url)) as gateway:
        await gateway.get("echo")
        assert (await gateway.get("echo"))["cookie"] is None


@pytest.mark.parametrize("suffix", ["", "/", "/api/v1", "/api/v1/"])
async def test_the_address_may_be_written_as_people_write_it(url: str, suffix: str) -> None:
    async with connect(settings(url + suffix)) as gateway:
        assert (await gateway.get("echo"))["key"] == f"Bearer {KEY}"


async def test_a_gateway_that_is_away_is_told_so() -> None:
    async with connect(settings("http://127.0.0.1:1")) as gateway:
        with pytest.raises(
            GatewayFailure, match=r"does not answer\. Try again later; .* its address \(APERAG_API_URL\) is wrong"
        ):
            await gateway.get("echo")
        assert await gateway.check() == "no answer"


async def test_a_gateway_that_never_answers_is_not_waited_for_for_ever(url: str) -> None:
    async with connect(settings(url)) as gateway:
        with pytest.raises(GatewayFailure, match=r"did not answer within 0\.3 s"):
            await gateway.get("never", seconds=0.3)


async def test_an_answer_that_is_no_json_is_told_so(url: str) -> None:
    async with connect(settings(url)) as gateway:
        with pytest.raises(GatewayFailure, match="no JSON"):
            await gateway.get("prose")


async def test_a_key_is_not_carried_to_where_an_answer_points(url: str) -> None:
    async with connect(settings(url)) as gateway:
        with pytest.raises(GatewayFailure):
            await gateway.get("elsewhere")


@pytest.mark.parametrize("value", ["", "..", ".", "a/b", "a%2Fb", "col 1", "My notes", "x" * 65, "col1?x=1", "col1\n"])
def test_what_could_never_be_an_id_does_not_reach_a_path(value: str) -> None:
    with pytest.raises(GatewayFailure, match="is no id of a collection"):
        id_of("collection", value)


async def test_a_request_whose_connection_is_closed_instead_of_an_answer_is_sent_again() -> None:
    """As happens to a connection that both sides have just let rest for long."""
    seen = 0

    async def close_first(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal seen
        await reader.readuntil(b"\r\n\r\n")
        seen += 1
        if seen > 1:
            writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            await writer.drain()
        writer.close()

    server = await asyncio.start_server(close_first, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    async with server, connect(settings(f"http://127.0.0.1:{port}")) as gateway:
        assert await gateway.get("echo") == {}
    assert seen == 2
