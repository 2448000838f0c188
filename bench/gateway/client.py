"""Keep-alive connections that cost the load client little: it shares the cores with what it measures."""

from __future__ import annotations

import asyncio
import time
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator


@dataclass(frozen=True, slots=True)
class Load:
    """Milliseconds of each request, and the seconds that all took together."""

    taken: list[float]
    seconds: float


@dataclass(frozen=True, slots=True)
class Requests:
    """``body`` comes with ``kind``, its content type."""

    method: str
    path: str
    key: str
    bodies: Iterator[bytes]
    kind: str = "application/json"

    def __next__(self) -> bytes:
        body = next(self.bodies)
        head = f"{self.method} {self.path} HTTP/1.1\r\nHost: gateway\r\nAuthorization: Bearer {self.key}\r\n"
        if body:
            head += f"Content-Type: {self.kind}\r\nContent-Length: {len(body)}\r\n"
        return head.encode() + b"\r\n" + body


async def load(url: str, requests: Requests, *, clients: int, count: int) -> Load:
    """Each of ``clients`` sends its next request as soon as it has an answer."""
    left = iter(range(count))
    taken: list[float] = []

    async def one_client() -> None:
        async with _connected(url) as (reader, writer):
            for _ in left:
                request = next(requests)
                begun = time.perf_counter()
                writer.write(request)
                await _answer(reader)
                taken.append((time.perf_counter() - begun) * 1000)

    begun = time.perf_counter()
    await asyncio.gather(*(one_client() for _ in range(clients)))
    return Load(taken, time.perf_counter() - begun)


@asynccontextmanager
async def _connected(url: str) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
    address = urlsplit(url)
    reader, writer = await asyncio.open_connection(address.hostname, address.port)
    try:
        yield reader, writer
    finally:
        writer.close()


async def _answer(reader: asyncio.StreamReader) -> None:
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:"))
    body = await reader.readexactly(int(length.partition(b":")[2]))
    if not head.startswith(b"HTTP/1.1 200 "):
        status = head.partition(b"\r\n")[0].decode()
        message = f"a request was answered {status}"
        raise BenchError(message, hint=body.decode(errors="replace"))
