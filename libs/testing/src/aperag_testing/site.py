"""A web site under test: it serves what a test says, also what no decent server would send."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from aperag_common.tasks import end_tasks

if TYPE_CHECKING:
    import ssl

Play: TypeAlias = Callable[["Asked", asyncio.StreamWriter], Awaitable[None]]
"""Writes the whole answer, status line first."""

HTML = "text/html; charset=utf-8"


@dataclass(frozen=True, slots=True)
class Asked:
    """One request; ``target`` is the path with its query."""

    method: str
    target: str
    headers: dict[str, str]
    body: str

    @property
    def path(self) -> str:
        return self.target.partition("?")[0]


@dataclass(slots=True)
class Site:
    """What is not said is 404. Each answer ends its connection."""

    port: int = 0
    host: str = "127.0.0.1"
    asked: list[Asked] = field(default_factory=list)
    _plays: dict[str, Play] = field(default_factory=dict)

    @property
    def url(self) -> str:
        return f"http://{self.host}:{self.port}"

    def paths(self) -> list[str]:
        return [asked.path for asked in self.asked]

    def page(self, path: str, body: str | bytes, content_type: str = HTML, status: int = 200, **headers: str) -> str:
        """The address of the page; ``headers`` are spelled with underscores."""
        content = body.encode() if isinstance(body, str) else body

        async def serve(_: Asked, writer: asyncio.StreamWriter) -> None:
            writer.write(head(status, content_type, length=len(content), **headers) + content)

        return self.play(path, serve)

    def redirect(self, path: str, to: str, status: int = 302) -> str:
        return self.page(path, "", status=status, location=to)

    def play(self, path: str, play: Play) -> str:
        self._plays[path] = play
        return f"{self.url}{path}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            asked = await _read(reader)
            self.asked.append(asked)
            play = self._plays.get(asked.path)
            if play is None:
                writer.write(head(404, "text/plain", length=0))
            else:
                await play(asked, writer)
            await writer.drain()
        writer.close()


def head(status: int, content_type: str, *, length: int | None = None, **headers: str) -> bytes:
    """Status line and headers; without ``length`` the end of the connection ends the body."""
    lines = [f"HTTP/1.1 {status} Status", "Connection: close"]
    lines += [f"Content-Type: {content_type}"] if content_type else []
    lines += [f"Content-Length: {length}"] if length is not None else []
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join([*lines, "", ""]).encode("latin-1")


@asynccontextmanager
async def open_site(host: str = "127.0.0.1", port: int = 0, tls: ssl.SSLContext | None = None) -> AsyncIterator[Site]:
    site = Site(host=host)
    serving: set[asyncio.Task[None]] = set()

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.ensure_future(site.serve(reader, writer))
        serving.add(task)
        task.add_done_callback(serving.discard)

    server = await asyncio.start_server(accept, host, port, ssl=tls)
    site.port = server.sockets[0].getsockname()[1]
    try:
        yield site
    finally:
        server.close()
        await end_tasks(*serving)
        await server.wait_closed()


async def _read(reader: asyncio.StreamReader) -> Asked:
    first, *lines = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    method, target, _ = first.split(" ", 2)
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines if line)}
    body = await reader.readexactly(int(headers.get("content-length", "0")))
    return Asked(method, target, headers, body.decode())
