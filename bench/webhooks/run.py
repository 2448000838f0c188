"""``bench webhooks``: how long after an event its webhook is called, one event at a time on a stack that rests."""

from __future__ import annotations

import asyncio
import json
import time
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING

from aperag_testing.client import Client
from bench.errors import BenchError
from bench.harness.stack import running_stack
from bench.measure.samples import percentile, spread
from bench.report.figures import Findings, Row, Section, at_most

if TYPE_CHECKING:
    from collections.abc import Callable

TARGET_MS = 50.0
PAUSE_SECONDS = 0.05
PATIENCE = 30.0
WARM_UP = 5
EVENT = "collection.deleted"


@dataclass(frozen=True, slots=True)
class Options:
    """``events`` are measured."""

    events: int


@dataclass(slots=True)
class Receiver:
    """Says when each event arrived; it answers at once."""

    arrivals: asyncio.Queue[tuple[dict[str, str], float]] = field(default_factory=asyncio.Queue)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.writers.append(writer)
        try:
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
                length = int(head.split("content-length:")[1].split("\r\n")[0])
                arrived = time.time()
                event = json.loads(await reader.readexactly(length))
                writer.write(b"HTTP/1.1 204 No Content\r\n\r\n")
                self.arrivals.put_nowait((event, arrived))
        except (asyncio.IncompleteReadError, ConnectionError):
            return


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    receiver = Receiver()
    server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    tell("starting a stack")
    with running_stack(settings={"APERAG_OUTBOUND__ALLOW": '["127.0.0.1"]'}) as stack:
        async with server, Client(stack.url, stack.api_key) as client:
            body = {"url": f"http://127.0.0.1:{port}/", "types": [EVENT]}
            begun = time.monotonic()
            await client.json("POST", "/webhooks", expect=201, json=body)
            await _one(client, receiver)
            started = time.monotonic() - begun
            for _ in range(WARM_UP):
                await _one(client, receiver)
            tell(f"{options.events} events, one at a time")
            times = [await _one(client, receiver) for _ in range(options.events)]
            for writer in receiver.writers:
                writer.close()
    made, answered = [it[0] for it in times], [it[1] for it in times]
    rows: list[Row] = [
        {"from": "the event is made, in its transaction", **spread(made)},
        {"from": "the request that made it is answered", **spread(answered)},
    ]
    service: list[Row] = [{"what": "first webhook made, service started, first event there", "s": started}]
    target = at_most("event to webhook at p50, ms", percentile(made, 0.5), TARGET_MS)
    return Findings([Section("event to webhook, ms", rows), Section("first webhook", service)], [target])


async def _one(client: Client, receiver: Receiver) -> tuple[float, float]:
    """Milliseconds since the event was made and since its request was answered."""
    collection = await client.collection("to be deleted")
    await asyncio.sleep(PAUSE_SECONDS)  # what the request before has left to do
    await client.json("DELETE", f"/collections/{collection}")
    answered = time.time()
    while True:
        try:
            event, arrived = await asyncio.wait_for(receiver.arrivals.get(), PATIENCE)
        except TimeoutError as err:
            raise BenchError("an event did not arrive", hint="see the log of the webhooks service") from err
        if event["subject"] == collection:
            made = datetime.fromisoformat(event["time"]).timestamp()
            return (arrived - made) * 1000, (arrived - answered) * 1000
