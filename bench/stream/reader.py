"""``python -m bench.stream.reader``: one reader for each turn, over HTTP, in a process of their own."""

from __future__ import annotations

import asyncio
import json
import re
import sys
import time
from typing import Any
from urllib.parse import urlsplit

import numpy as np

_DATA = re.compile(rb"data: (\{.*?\})\n\n")
_WORD = re.compile(r"(\d+\.\d+):(\d+) ")
READ = 64 * 1024


class Reader:
    """Counts what it was told of one turn, and how late each piece was; several pieces may come as one event."""

    def __init__(self) -> None:
        self.late: list[float] = []
        self.numbers: list[int] = []
        self.ends = 0

    async def read(self, url: str, key: str, turn: str, ready: asyncio.Semaphore) -> None:
        """Bytes and a pattern: a client library would take more of the machine than all that is measured."""
        address = urlsplit(url)
        reader, writer = await asyncio.open_connection(address.hostname, address.port, limit=2**20)
        request = (
            f"GET /api/v1/turns/{turn}/events HTTP/1.1\r\nHost: {address.netloc}\r\n"
            f"Authorization: Bearer {key}\r\nAccept: text/event-stream\r\n\r\n"
        )
        writer.write(request.encode())
        head = await reader.readuntil(b"\r\n\r\n")
        if b" 200 " not in head.split(b"\r\n", 1)[0]:
            raise RuntimeError(head.decode(errors="replace"))
        ready.release()
        buffer = b""
        while not self.ends and (received := await reader.read(READ)):
            now, buffer = time.time(), buffer + received
            end = 0
            for found in _DATA.finditer(buffer):
                self._take(json.loads(found[1]), now)
                end = found.end()
            buffer = buffer[end:]
        writer.close()

    def _take(self, message: dict[str, Any], now: float) -> None:
        if message["type"] == "message":
            for moment, number in _WORD.findall(message["data"]):
                self.late.append(now - float(moment))
                self.numbers.append(int(number))
        elif message["type"] in {"stop", "error"}:
            self.ends += 1


async def read_all(plan: dict[str, Any]) -> dict[str, Any]:
    readers, ready = [Reader() for _ in plan["turns"]], asyncio.Semaphore(0)
    tasks = [
        asyncio.create_task(reader.read(plan["url"], plan["key"], turn, ready))
        for reader, turn in zip(readers, plan["turns"], strict=True)
    ]
    for _ in tasks:
        waiting = asyncio.create_task(ready.acquire())
        await asyncio.wait({waiting, *tasks}, return_when=asyncio.FIRST_COMPLETED)
        for task in tasks:
            if task.done():
                task.result()
    sys.stdout.write("ready\n")
    sys.stdout.flush()
    done, pending = await asyncio.wait(tasks, timeout=plan["seconds"] + plan["patience"])
    for task in pending:
        task.cancel()
    for task in done:
        task.result()
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
