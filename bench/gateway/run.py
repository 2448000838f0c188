"""``bench gateway``: an authenticated GET that does nothing, one upload and one search, beside a bare server."""

from __future__ import annotations

import json
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count, cycle, repeat
from pathlib import Path
from typing import TYPE_CHECKING

import psutil

from aperag_testing.client import Client
from bench.corpora import generated
from bench.gateway import processes
from bench.gateway.client import Load, Requests, load
from bench.gateway.nothing import PATH
from bench.harness.database import database
from bench.harness.stack import running_stack
from bench.measure.processes import POSTGRES, StackProcesses, cpu_between
from bench.measure.samples import percentile
from bench.report.figures import Findings, Row, Section, at_most
from bench.search import fill, material
from bench.search.load import Leg, body_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aperag_testing.stack import Stack

CHUNKS = 200
CLIENTS = (1, 8)
WARM_UP = 50
FEWER = 10
"""Searches and uploads take so much longer that this share of them tells as much."""
BARE, GET, SEARCH, UPLOAD = "bare FastAPI, GET", "GET", "search", "upload"
BOUNDARY = "of-the-bench"
MOST_OF_BARE = 2.5
MOST_FRAMEWORK_MS = 0.5
MOST_UPLOAD_MS = 8.0


@dataclass(frozen=True, slots=True)
class Options:
    """``requests`` are measured of the GET."""

    requests: int


@dataclass(frozen=True, slots=True)
class Cell:
    """CPU is in microseconds per request."""

    what: str
    clients: int
    load: Load
    server_cpu: float
    postgres_cpu: float

    def row(self) -> Row:
        return {
            "request": self.what,
            "clients": self.clients,
            "p50 ms": percentile(self.load.taken, 0.5),
            "p95 ms": percentile(self.load.taken, 0.95),
            "per second": len(self.load.taken) / self.load.seconds,
            "server CPU µs": self.server_cpu,
            "PostgreSQL CPU µs": self.postgres_cpu,
        }


@dataclass(frozen=True, slots=True)
class Bench:
    """Loads one server at a time and looks at what it spends."""

    stack: Stack

    async def cells(self, what: str, url: str, pid: int, requests: Requests, number: int) -> list[Cell]:
        return [await self._cell(what, url, pid, requests, number, clients) for clients in CLIENTS]

    async def _cell(self, what: str, url: str, pid: int, requests: Requests, number: int, clients: int) -> Cell:
        await load(url, requests, clients=clients, count=WARM_UP)
        server, stack = psutil.Process(pid), StackProcesses(self.stack)
        spent, others = _cpu(server), stack.cpu_seconds()
        measured = await load(url, requests, clients=clients, count=number)
        postgres = cpu_between(others, stack.cpu_seconds()).get(POSTGRES, 0.0)
        return Cell(what, clients, measured, (_cpu(server) - spent) / number * 1e6, postgres / number * 1e6)


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    tell("starting a stack")
    with running_stack() as stack, tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        async with Client(stack.url, stack.api_key) as client:
            tell(f"writing a collection of {CHUNKS} chunks")
            collection, target = await _filled(stack, client), await client.collection("uploads")
        tell(f"{options.requests} requests per cell")
        key, few, bench = stack.api_key, max(FEWER, options.requests // FEWER), Bench(stack)
        nothing = Requests("GET", PATH, key, repeat(b""))
        async with processes.bare(folder) as (url, pid):
            cells = await bench.cells(BARE, url, pid, nothing, options.requests)
        async with processes.gateway(stack, folder) as (url, pid):
            cells += await bench.cells(GET, url, pid, nothing, options.requests)
            asked = Requests("POST", f"/api/v1/collections/{collection}/searches", key, _searches())
            cells += await bench.cells(SEARCH, url, pid, asked, few)
            with _halted(stack, "indexer"):
                kind = f"multipart/form-data; boundary={BOUNDARY}"
                sent = Requests("POST", f"/api/v1/collections/{target}/documents", key, _uploads(), kind)
                cells += await bench.cells(UPLOAD, url, pid, sent, few)
    by_name = {(cell.what, cell.clients): cell for cell in cells}
    get, bare, upload = by_name[GET, 8], by_name[BARE, 8], by_name[UPLOAD, 1]
    return Findings(
        [Section("requests", [cell.row() for cell in cells])],
        [
            at_most("CPU of the GET, times that of the bare one", get.server_cpu / bare.server_cpu, MOST_OF_BARE),
            at_most("CPU of the GET, traced, ms", get.server_cpu / 1000, MOST_FRAMEWORK_MS),
            at_most("one upload, p50 ms", percentile(upload.load.taken, 0.5), MOST_UPLOAD_MS),
        ],
    )


async def _filled(stack: Stack, client: Client) -> str:
    originals = await material.originals(CHUNKS)
    collection = await client.collection(f"{CHUNKS} chunks")
    async with database(stack) as engine:
        await fill.fill(engine, collection, originals, CHUNKS)
    return collection


def _searches() -> Iterator[bytes]:
    return (json.dumps(body_of(Leg.HYBRID, query, 10)).encode() for query in cycle(material.queries()))


def _uploads() -> Iterator[bytes]:
    for number in count():
        disposition = f'Content-Disposition: form-data; name="files"; filename="{number}.txt"'
        head = f"--{BOUNDARY}\r\n{disposition}\r\nContent-Type: text/plain\r\n\r\n"
        yield f"{head}{generated.page(number)}\r\n--{BOUNDARY}--\r\n".encode()


@contextmanager
def _halted(stack: Stack, name: str) -> Iterator[None]:
    """It stands still: what is uploaded is accepted, and nobody works on it beside the measurement."""
    process = psutil.Process(int(stack.unit(name)["pid"]))
    process.suspend()
    try:
        yield
    finally:
        process.resume()


def _cpu(process: psutil.Process) -> float:
    times = process.cpu_times()
    return float(times.user + times.system)
