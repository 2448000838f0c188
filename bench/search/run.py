"""``bench search``: each leg and both, in a small, a middling and a large collection of one database."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import cycle, islice
from typing import TYPE_CHECKING

from aperag_testing.client import Client
from bench.harness.database import chunks_of, database
from bench.harness.stack import running_stack
from bench.measure.samples import percentile
from bench.report.figures import Findings, Row, Section, Target, at_least, at_most
from bench.search import fill, material
from bench.search.exact import recalls
from bench.search.load import Leg, Load, load

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from aperag_testing.stack import Stack

TINY, SMALL, LARGE = 200, 5_000, 100_000
CLIENTS = (1, 8)
WARM_UP = 20
RECALL_QUERIES = 50
TARGETS: dict[tuple[int, int], tuple[float, float]] = {(LARGE, 1): (80, 0), (LARGE, 8): (250, 60), (SMALL, 1): (40, 0)}
"""Of hybrid searches, by chunks and clients: the p95 in ms, and the searches per second."""


@dataclass(frozen=True, slots=True)
class Options:
    """``large`` chunks make the large collection, ``searches`` are measured per cell."""

    large: int
    searches: int


@dataclass(frozen=True, slots=True)
class Place:
    """A collection of so many chunks."""

    collection: str
    chunks: int


@dataclass(frozen=True, slots=True)
class Cell:
    """One load on one collection."""

    chunks: int
    leg: Leg
    clients: int
    load: Load

    @property
    def p95(self) -> float:
        return percentile(self.load.searches, 0.95)

    @property
    def per_second(self) -> float:
        return len(self.load.searches) / self.load.seconds

    def row(self) -> Row:
        return {
            "chunks": self.chunks,
            "leg": self.leg,
            "clients": self.clients,
            "p50 ms": percentile(self.load.searches, 0.5),
            "p95 ms": self.p95,
            "per second": self.per_second,
        }


async def run(options: Options, *, tell: Callable[[str], None]) -> Findings:
    tell("starting a stack")
    with running_stack() as stack:
        async with Client(stack.url, stack.api_key) as client:
            places = await _fill(stack, client, (TINY, SMALL, options.large), tell)
            asked = material.queries()
            queries = cycle(asked)
            tell(f"{options.searches} searches per cell")
            cells = [cell for place in places for cell in await _cells(client, place, queries, options.searches)]
            tell("recall against exact search")
            missed = [
                {"chunks": place.chunks, **await recalls(stack, client, place.collection, asked[:RECALL_QUERIES])}
                for place in places
                if place.chunks > TINY
            ]
    sections = [Section("searches", [cell.row() for cell in cells]), Section("vector leg against exact search", missed)]
    return Findings(sections, _targets(cells))


async def _fill(stack: Stack, client: Client, sizes: Sequence[int], tell: Callable[[str], None]) -> list[Place]:
    places: list[Place] = []
    tell(f"embedding {SMALL} chunks")
    originals = await material.originals(SMALL)
    index = await fill.drop_vector_index(stack)
    async with database(stack) as engine:
        for size in sizes:
            tell(f"writing a collection of {size} chunks")
            collection = await client.collection(f"{size} chunks")
            await fill.fill(engine, collection, originals, size)
            places.append(Place(collection, await chunks_of(engine, collection)))
    tell("building the vector index")
    await fill.finish(stack, index)
    return places


async def _cells(client: Client, place: Place, queries: Iterator[str], searches: int) -> list[Cell]:
    found: list[Cell] = []
    for leg in Leg:
        for clients in CLIENTS:
            await load(client, place.collection, leg, islice(queries, WARM_UP), clients=clients, searches=WARM_UP)
            measured = await load(client, place.collection, leg, queries, clients=clients, searches=searches)
            found.append(Cell(place.chunks, leg, clients, measured))
    return found


def _targets(cells: Sequence[Cell]) -> list[Target]:
    """Only of the sizes that have a target: a run with a smaller large collection has fewer."""
    found: list[Target] = []
    for cell in cells:
        if cell.leg is not Leg.HYBRID or (cell.chunks, cell.clients) not in TARGETS:
            continue
        name = f"hybrid, {cell.chunks} chunks, {cell.clients} clients"
        slowest, least = TARGETS[cell.chunks, cell.clients]
        found.append(at_most(f"{name}, p95 ms", cell.p95, slowest))
        if least:
            found.append(at_least(f"{name}, per second", cell.per_second, least))
    return found
