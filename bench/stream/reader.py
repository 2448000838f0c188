"""``python -m bench.stream.reader``: one reader for each turn, over HTTP, in a process of their own."""

from __future__ import annotations

import asyncio
import gc
import json
import re
import sys
import time
from itertools import cycle
from typing import Any
from urllib.parse import urlsplit

import numpy as np

_DATA = re.compile(rb"data: (\{.*?\})\n\n")
_WORD = re.compile(r"(\d+\.\d+):(\d+) ")
LAST_CHUNK = b"0\r\n\r\n"


class Reader(asyncio.Protocol):
    """Notes what came of one turn and when, and looks at it when all is over: it shares the cores with what is measured.

    ``numbers`` and ``late`` are the pieces it was told, several of which may come as one event, and how late they were.
    """

    def __init__(self, request: bytes) -> None:
        loop = asyncio.get_running_loop()
        self._request = request
        self._received: list[tuple[float, bytes]] = []
        self._tail = b""
        self._transport: asyncio.Transport | None = None
        self.answered: asyncio.Future[None] = loop.create_future()
        self.ended: asyncio.Future[None] = loop.create_future()
        self.late: list[float] = []
        self.numbers: list[int] = []
        self.ends = 0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        self._received.append((time.time(), data))
        if not self.answered.done():
            self._answer(data)
        self._tail = (self._tail + data)[-len(LAST_CHUNK) :]
        if self._tail == LAST_CHUNK and not self.ended.done():
            self.ended.set_result(None)

    def connection_lost(self, exc: Exception | None) -> None:
        for future in (self.answered, self.ended):
            if not future.done():
                future.set_exception(exc or ConnectionError("the server ended the connection"))

    def look(self) -> None:
        """Bytes and a pattern: a client library would take longer than all that is measured."""
        buffer = b""
        for now, data in self._received:
            buffer += data
            end = 0
            for found in _DATA.finditer(buffer):
                self.take(json.loads(found[1]), now)
                end = found.end()
            buffer = buffer[end:]

    def take(self, message: dict[str, Any], now: float) -> None:
        if message["type"] == "message":
            for moment, number in _WORD.findall(message["data"]):
                self.late.append(now - float(moment))
                self.numbers.append(int(number))
        elif message["type"] in {"stop", "error"}:
            self.ends += 1

    def _answer(self, head: bytes) -> None:
        if b" 200 " in head.split(b"\r\n", 1)[0]:
            self.answered.set_result(None)
        else:
            self.answered.set_exception(RuntimeError(head.decode(errors="replace")))


async def connected(plan: dict[str, Any], url: str, turn: str) -> Reader:
    address = urlsplit(url)
    assert address.hostname is not None
    assert address.port is not None
    request = (
        f"GET /api/v1/turns/{turn}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
        f"Authorization: Bearer {plan['key']}\r\nAccept: text/event-stream\r\n\r\n"
    )
    loop = asyncio.get_running_loop()
    _, reader = await loop.create_connection(lambda: Reader(request.encode()), address.hostname, address.port)
    await reader.answered
    return reader


async def read_all(plan: dict[str, Any]) -> dict[str, Any]:
    readers = await asyncio.gather(
        *(connected(plan, url, turn) for url, turn in zip(cycle(plan["urls"]), plan["turns"], strict=False))
    )
    gc.collect()
    gc.freeze()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    await asyncio.wait({reader.ended for reader in readers}, timeout=plan["seconds"] + plan["patience"])
    for reader in readers:
        reader.look()
    late = np.array([it for reader in readers for it in reader.late]) * 1000
    whole = sum(reader.numbers == list(range(plan["events"])) and reader.ends == 1 for reader in readers)
    return {
        "heard": len(late),
        "whole": whole,
        "p50": float(np.percentile(late, 50)) if len(late) else None,
        "p99": float(np.percentile(late, 99)) if len(late) else None,
        "max": float(late.max()) if len(late) else None,
    }


def main() -> None:
    plan = json.loads(sys.stdin.read())
    sys.stdout.write(json.dumps(asyncio.run(read_all(plan))) + "\n")


if __name__ == "__main__":
    main()
