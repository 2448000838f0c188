"""Connections whose clients keep no pace, over real sockets."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, StreamingResponse
from starlette.routing import Route

from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

SOON = timedelta(seconds=1)
NEVER = timedelta(hours=1)
PATIENCE = 30.0
DRIP_SECONDS = 0.1


class Seen:
    """What became of requests, as the application saw it."""

    def __init__(self) -> None:
        self.abandoned = 0
        self.ended_streams = 0

    async def has_ended_a_stream(self) -> bool:
        return self.ended_streams > 0


def application(seen: Seen) -> Starlette:
    async def size(request: Request) -> JSONResponse:
        try:
            return JSONResponse({"size": len(await request.body())})
        except ClientDisconnect:
            seen.abandoned += 1
            raise

    async def unread(_: Request) -> JSONResponse:
        return JSONResponse({"size": None})

    async def slow_reader(request: Request) -> JSONResponse:
        """Takes longer for a chunk than a client may take for a body."""
        read = 0
        async for chunk in request.stream():
            read += len(chunk)
            await asyncio.sleep(3 * SOON.total_seconds() if read == len(chunk) else 0)
        return JSONResponse({"size": read})

    async def endless(_: Request) -> StreamingResponse:
        async def blocks() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield b"x" * 65_536
                    await asyncio.sleep(0)
            finally:
                seen.ended_streams += 1

        return StreamingResponse(blocks())

    routes = [
        Route("/size", size, methods=["POST"]),
        Route("/unread", unread, methods=["POST"]),
        Route("/slow", slow_reader, methods=["POST"]),
        Route("/endless", endless),
    ]
    return Starlette(routes=routes)


@asynccontextmanager
async def serving(seen: Seen, **settings: Any) -> AsyncIterator[int]:
    values = {"head_timeout": NEVER, "body_timeout": NEVER, "send_timeout": NEVER, **settings}
    server = HttpServer(HttpSettings(port=0, **values), application(seen))
    await server.start()
    try:
        yield server.port
    finally:
        await server.stop()


@asynccontextmanager
async def connected(port: int) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield reader, writer
    finally:
        writer.close()
        with suppress(ConnectionError):
            await writer.wait_closed()


async def answer(reader: asyncio.StreamReader) -> bytes:
    async with asyncio.timeout(PATIENCE):
        try:
            return await reader.read()
        except ConnectionResetError:
            return b""


async def drip(writer: asyncio.StreamWriter, piece: bytes) -> None:
    """Until the other side has had enough."""
    with suppress(ConnectionError):
        while not writer.is_closing():
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)


async def dripped(port: int, begin: bytes, piece: bytes) -> bytes:
    """The whole answer to a request that begins well and goes on in drops."""
    async with connected(port) as (reader, writer):
        writer.write(begin)
        dripping = asyncio.create_task(drip(writer, piece))
        try:
            return await answer(reader)
        finally:
            dripping.cancel()


def post(path: str, length: int) -> bytes:
    return f"POST {path} HTTP/1.1\r\nHost: here\r\nContent-Length: {length}\r\n\r\n".encode()


async def test_a_head_that_drips_is_cut() -> None:
    async with serving(Seen(), head_timeout=SOON) as port:
        said = await dripped(port, b"GET /size HTTP/1.1\r\n", b"X-More: 1\r\n")
    assert said.startswith(b"HTTP/1.1 408 ")
    assert said.endswith(b'{"detail": "The head of the request did not end in time"}')


async def test_a_connection_that_never_speaks_is_cut() -> None:
    async with serving(Seen(), head_timeout=SOON) as port, connected(port) as (reader, _):
        assert (await answer(reader)).startswith(b"HTTP/1.1 408 ")


async def test_the_second_head_on_a_connection_has_to_end_too() -> None:
    async with serving(Seen(), head_timeout=SOON) as port:
        said = await dripped(port, post("/size", 1) + b"x" + b"GET /size HTTP/1.1\r\n", b"X-More: 1\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in said


async def test_a_body_that_drips_is_cut_and_the_application_told() -> None:
    seen = Seen()
    async with serving(seen, body_timeout=SOON, body_rate=1024) as port:
        said = await dripped(port, post("/size", 10**6), b"x")
        assert said.startswith(b"HTTP/1.1 408 ")
    assert seen.abandoned == 1


async def test_a_body_that_stops_is_cut() -> None:
    seen = Seen()
    async with serving(seen, body_timeout=SOON, body_rate=1) as port, connected(port) as (reader, writer):
        writer.write(post("/size", 100) + b"x" * 50)
        assert (await answer(reader)).startswith(b"HTTP/1.1 408 ")
    assert seen.abandoned == 1


async def test_what_drips_after_the_answer_is_cut_too() -> None:
    async with serving(Seen(), body_timeout=SOON, body_rate=1024) as port:
        said = await dripped(port, post("/unread", 10**6), b"x")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"408" not in said


async def test_a_body_in_time_is_read_however_long_it_takes() -> None:
    length, piece = 40, b"xx"
    async with serving(Seen(), body_timeout=SOON, body_rate=1) as port, connected(port) as (reader, writer):
        writer.write(post("/size", length).replace(b"Host", b"Connection: close\r\nHost"))
        for _ in range(length // len(piece)):
            writer.write(piece)
            await writer.drain()
            await asyncio.sleep(DRIP_SECONDS)
        assert b'{"size":40}' in await answer(reader)


async def test_an_application_that_reads_slowly_is_not_its_clients_fault() -> None:
    length = 4 * 1024 * 1024
    async with serving(Seen(), body_timeout=SOON, body_rate=1024) as port, connected(port) as (reader, writer):
        writer.write(post("/slow", length).replace(b"Host", b"Connection: close\r\nHost") + b"x" * length)
        assert f'{{"size":{length}}}'.encode() in await answer(reader)


async def test_a_client_that_is_to_be_asked_for_its_body_owes_none_before() -> None:
    async with serving(Seen(), body_timeout=SOON, body_rate=1024) as port, connected(port) as (reader, writer):
        head = post("/slow", 3).replace(b"Host", b"Expect: 100-continue\r\nConnection: close\r\nHost")
        writer.write(head)
        assert await reader.readline() == b"HTTP/1.1 100 Continue\r\n"
        writer.write(b"abc")
        assert b'{"size":3}' in await answer(reader)


async def test_a_client_that_takes_nothing_of_its_answer_is_cut() -> None:
    seen = Seen()
    async with serving(seen, send_timeout=SOON) as port, connected(port) as (reader, writer):
        writer.write(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await until(seen.has_ended_a_stream)


async def test_connections_beyond_the_most_are_told_to_come_again() -> None:
    async with (
        serving(Seen(), max_connections=2) as port,
        connected(port),
        connected(port),
        connected(port) as (reader, _),
    ):
        said = await answer(reader)
    assert said.startswith(b"HTTP/1.1 503 ")
    assert b"retry-after: 1\r\n" in said


@pytest.mark.parametrize("size", [20_000, 70_000])
async def test_an_endless_head_is_refused(size: int) -> None:
    async with serving(Seen(), max_head_size=16_384) as port, connected(port) as (reader, writer):
        writer.write(b"GET /endless HTTP/1.1\r\nHost: here\r\nX-Long: " + b"x" * size)
        assert (await answer(reader)).startswith(b"HTTP/1.1 400 ")


async def test_line_breaks_between_requests_keep_no_connection_open() -> None:
    async with serving(Seen(), head_timeout=SOON) as port:
        said = await dripped(port, post("/size", 1) + b"x", b"\r\n")
    assert said.startswith(b"HTTP/1.1 200 ")
    assert b"HTTP/1.1 408 " in said


async def test_a_long_head_after_a_request_in_the_same_piece_is_refused() -> None:
    async with serving(Seen(), max_head_size=16_384) as port, connected(port) as (reader, writer):
        writer.write(post("/size", 1) + b"x" + b"GET /size HTTP/1.1\r\nHost: here\r\nX-Long: ")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.write(b"x" * 20_000)
        assert b"HTTP/1.1 400 " in await answer(reader)


async def test_a_stream_whose_client_has_sent_ahead_ends_with_its_connection() -> None:
    seen = Seen()
    async with serving(seen) as port:
        async with connected(port) as (reader, writer):
            writer.write(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n" * 2)
            assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        await until(seen.has_ended_a_stream)


async def test_what_is_no_request_never_stands_in_an_answer() -> None:
    async with serving(Seen()) as port, connected(port) as (reader, writer):
        writer.write(b"GET /endless HTTP/1.1\r\nHost: here\r\n\r\n")
        assert await reader.readline() == b"HTTP/1.1 200 OK\r\n"
        writer.write(b"\x00 this is no request\r\n\r\n")
        assert b"HTTP/1.1 400" not in await answer(reader)


async def test_what_is_no_request_is_refused() -> None:
    async with serving(Seen()) as port, connected(port) as (reader, writer):
        writer.write(b"\x00 this is no request\r\n\r\n")
        assert (await answer(reader)).startswith(b"HTTP/1.1 400 ")


async def test_a_body_is_read_where_another_protocol_is_offered_too() -> None:
    """As Java's client does with every first request of a connection."""
    offer = b"Upgrade: h2c\r\nHTTP2-Settings: AAEAAEAA\r\nConnection: Upgrade, HTTP2-Settings"
    async with serving(Seen()) as port, connected(port) as (reader, writer):
        for last in (b"", b", close"):
            writer.write(post("/size", 3).replace(b"Host", offer + last + b"\r\nHost") + b"abc")
            assert (await reader.readline()).startswith(b"HTTP/1.1 200 ")
            assert b'{"size":3}' in await reader.readuntil(b"}")
        assert await answer(reader) == b""
