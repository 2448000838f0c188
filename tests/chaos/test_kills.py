"""An ingest during which every kind of process is killed loses nothing, doubles nothing and leaves nothing behind."""

from __future__ import annotations

import asyncio
import hashlib
import random
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common.bus import subjects, topology
from aperag_common.objects import layout
from aperag_common.testing.audit import broken_promises
from aperag_common.testing.waiting import until
from aperag_retrieval.chunking import ChunkPolicy, ParsedDocument, chunk_document

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.testing.client import Client, EventLog
    from aperag_common.testing.stack import Stack

pytestmark = pytest.mark.timeout(420)

SEED = 20_261_122
DOCUMENTS = 300
IN_FLIGHT = 100
"""Uploads are held back beyond this, so that documents come in during the whole of the ingest."""
SENDERS = 6
WITHIN = 240.0
SETTLED_WITHIN = 90.0
"""Longer than the server waits for the ack of a message whose worker was killed (30 s)."""
WORDS = [
    "tide",
    "moon",
    "sea",
    "shore",
    "boat",
    "harbour",
    "light",
    "keeper",
    "storm",
    "rope",
    "sail",
    "wind",
    "chart",
    "star",
    "night",
    "wave",
    "gull",
    "sand",
]


@dataclass(frozen=True)
class Blow:
    """``unit`` is killed once so many documents are complete."""

    unit: str
    after: int


def blows(rng: random.Random) -> list[Blow]:
    units = ["indexer", "api", "nats", "reconciler", "indexer-2", "api", "reconciler-2", "postgres", "nats", "indexer"]
    rng.shuffle(units)
    spacing = 0.9 * DOCUMENTS / len(units)
    return [Blow(unit, int((number + rng.random()) * spacing)) for number, unit in enumerate(units)]


def make_texts(rng: random.Random) -> dict[str, str]:
    """Small texts with one word each that no other has; every tenth is long enough for several chunks."""
    texts = {}
    for number in range(DOCUMENTS):
        words = rng.choices(WORDS, k=1500 if number % 10 == 0 else 60)
        texts[f"log-{number:03}.txt"] = " ".join([own_word(number), *words]) + "."
    return texts


def own_word(number: int) -> str:
    return "q" + "".join(chr(ord("a") + int(digit)) for digit in f"{number:05}") + "x"


@dataclass
class Ingest:
    """Sends documents and strikes blows as they become complete; ``accepted`` maps names to what was answered."""

    stack: Stack
    client: Client
    rows: AsyncEngine
    collection: str
    texts: dict[str, str]
    blows: list[Blow]
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def run(self) -> None:
        self._free = asyncio.Semaphore(IN_FLIGHT)
        waiting = iter(self.texts.items())
        async with asyncio.timeout(WITHIN), asyncio.TaskGroup() as group:
            for _ in range(SENDERS):
                group.create_task(self._send(waiting))
            await self._watch()

    async def _send(self, waiting: Any) -> None:
        for name, body in waiting:
            await self._free.acquire()
            self.accepted[name] = await self.client.upload_patiently(self.collection, name, body.encode())

    async def _watch(self) -> None:
        seen = 0

        async def look() -> bool:
            nonlocal seen
            complete = await self._complete()
            for _ in range(complete - seen):
                self._free.release()
            seen = max(seen, complete)
            if self.blows and seen >= self.blows[0].after and self._stands(self.blows[0].unit):
                self.stack.kill(self.blows.pop(0).unit)
            return seen == DOCUMENTS

        await until(look, within=WITHIN)

    async def _complete(self) -> int:
        query = text("SELECT count(*) FROM document WHERE collection_id = :id AND status = 'COMPLETE'")
        try:
            async with self.rows.connect() as conn:
                return int((await conn.execute(query, {"id": self.collection})).scalar_one())
        except (SQLAlchemyError, OSError):  # PostgreSQL is one of those that are killed
            return 0

    def _stands(self, unit: str) -> bool:
        return self.stack.unit(unit)["status"] == "ready"


async def settled(bus: Bus, rows: AsyncEngine, *, epoch: int) -> None:
    """Wait until nothing is on its way any more: no message held, every event relayed to this life of the stream."""

    async def idle() -> bool:
        for stream in topology.STREAMS:
            for consumer in stream.consumers:
                if consumer.service is topology.Service.INDEXER:
                    info = await bus.js.consumer_info(stream.name, consumer.name)
                    if info.num_pending or info.num_ack_pending:
                        return False
        async with rows.connect() as conn:
            query = text("SELECT count(*) FROM outbox WHERE epoch IS DISTINCT FROM :epoch")
            left = await conn.execute(query, {"epoch": epoch})
            return left.scalar_one() == 0

    await until(idle, within=SETTLED_WITHIN)


async def epoch_of_events(rows: AsyncEngine) -> int:
    query = "SELECT epoch FROM stream_epoch WHERE stream = :name"
    return int((await column(rows, query, name=subjects.EVENTS))[0])


def replayed(log: EventLog, epoch: int) -> list[str]:
    """The ids of the events that a reader was told in this life of the stream."""
    told = (event for event in log.events if event.id.startswith(f"{epoch}-"))
    return [event.body["id"] for event in told if event.type != "reset"]


async def events_in_stream(bus: Bus) -> int:
    return int((await bus.js.stream_info(subjects.EVENTS)).state.messages)


async def column(rows: AsyncEngine, query: str, **parameters: Any) -> list[Any]:
    async with rows.connect() as conn:
        return list((await conn.execute(text(query), parameters)).scalars())


async def test_an_ingest_survives_the_death_of_every_process(
    stack: Stack, client: Client, rows: AsyncEngine, bus: Bus
) -> None:
    rng = random.Random(SEED)
    collection = await client.collection("chaos")
    ingest = Ingest(stack, client, rows, collection, make_texts(rng), blows(rng))
    epoch = await epoch_of_events(rows)
    async with client.events() as log:
        await ingest.run()
        assert ingest.blows == []
        await settled(bus, rows, epoch=epoch)
        facts = await column(rows, "SELECT id::text FROM outbox")
        await log.until(lambda it: len(it.events) >= len(facts))
    assert sorted(event.body["id"] for event in log.events) == sorted(facts)
    assert await events_in_stream(bus) == len(facts)
    assert await broken_promises(rows, collection) == {}
    await as_the_client_sees_it(client, ingest)
    await as_the_chunks_say(rows, ingest)
    await as_the_object_store_holds_it(stack, rows, ingest)
    as_the_supervisor_counts(stack)
    await as_every_service_says(stack)


async def as_the_client_sees_it(client: Client, ingest: Ingest) -> None:
    listed: dict[str, dict[str, Any]] = {}
    for page in range(1, DOCUMENTS // 100 + 1):
        answer = await client.json(
            "GET", f"/collections/{ingest.collection}/documents", params={"page": page, "page_size": 100}
        )
        listed |= {document["name"]: document for document in answer["items"]}
    assert {name: document["id"] for name, document in ingest.accepted.items()} == {
        name: document["id"] for name, document in listed.items()
    }
    assert {document["status"] for document in listed.values()} == {"COMPLETE"}
    for number in range(0, DOCUMENTS, 15):
        name = f"log-{number:03}.txt"
        again = await client.upload_patiently(ingest.collection, name, ingest.texts[name].encode())
        assert again["id"] == listed[name]["id"]
        hits = await client.search(ingest.collection, own_word(number), legs=["fulltext"])
        assert [hit["source"] for hit in hits] == [name]


async def as_the_chunks_say(rows: AsyncEngine, ingest: Ingest) -> None:
    """The same chunks as one indexer makes that nobody disturbs."""
    query = """
        SELECT d.name || ':' || c.ordinal || ':' || c.text_hash FROM chunk c JOIN document d ON d.id = c.document_id
        WHERE d.collection_id = :id
    """
    quiet = {
        f"{name}:{draft.ordinal}:{draft.text_hash}"
        for name, body in ingest.texts.items()
        for draft in chunk_document(ParsedDocument(body), ChunkPolicy())
    }
    assert set(await column(rows, query, id=ingest.collection)) == quiet


async def as_the_object_store_holds_it(stack: Stack, rows: AsyncEngine, ingest: Ingest) -> None:
    """Every document's bytes, and in the end nothing besides them."""
    (owner,) = await column(rows, "SELECT owner FROM collection WHERE id = :id", id=ingest.collection)
    directory = stack.objects / layout.collection_prefix(owner, ingest.collection)
    for name, document in ingest.accepted.items():
        original = directory / document["id"] / "original.txt"
        assert hashlib.sha256(original.read_bytes()).digest() == hashlib.sha256(ingest.texts[name].encode()).digest()
        assert list((directory / document["id"]).glob("parsed-*.md"))
    ids = {document["id"] for document in ingest.accepted.values()}

    async def swept() -> bool:
        return {path.name for path in directory.iterdir()} == ids

    await until(swept, within=SETTLED_WITHIN)


def as_the_supervisor_counts(stack: Stack) -> None:
    restarts = {unit["name"]: unit["restarts"] for unit in stack.state()["units"]}
    assert all(restarts.values()), restarts
    supervisor = psutil.Process(stack.state()["pid"])
    ours = {supervisor, *supervisor.children(recursive=True)}
    assert [process for process in stack.processes() if process not in ours] == []


async def as_every_service_says(stack: Stack) -> None:
    """Bound, connected and moving again, whatever has happened to it."""
    services = [unit for unit in stack.state()["units"] if unit["name"] not in {"nats", "postgres"}]
    async with httpx.AsyncClient(trust_env=False) as http:

        async def ready() -> bool:
            answers = [await http.get(f"http://127.0.0.1:{service['port']}/readyz") for service in services]
            return all(answer.is_success for answer in answers)

        await until(ready)


async def test_a_wiped_stream_store_costs_no_document_and_no_event(
    stack: Stack, client: Client, rows: AsyncEngine, bus: Bus
) -> None:
    collection = await client.collection("wiped")
    bodies = {f"{number}.txt": f"Keeper {number} lights the lamp.".encode() for number in range(40)}
    epoch = await epoch_of_events(rows) + 1
    async with client.events() as log:
        uploaded = await client.upload(collection, bodies)
        await log.until(lambda it: "index.activated" in {event.type for event in it.events})
        stack.wipe_jetstream()
        tasks = [document["task_id"] for document in uploaded]
        assert set((await log.until_ended(*tasks, within=SETTLED_WITHIN)).values()) == {"SUCCESS"}
        await settled(bus, rows, epoch=epoch)
        facts = await column(rows, "SELECT id::text FROM outbox")
        await log.until(lambda it: len(replayed(it, epoch)) >= len(facts))
    assert sorted(replayed(log, epoch)) == sorted(facts)
    assert [event.type for event in log.events].count("reset") == 1
    assert await events_in_stream(bus) == len(facts)
    assert await broken_promises(rows, collection) == {}
    await as_every_service_says(stack)
