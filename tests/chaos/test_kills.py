"""An ingest during which every kind of process is killed loses nothing, doubles nothing and leaves nothing behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from aperag_common import subjects
from aperag_retrieval.chunking import ChunkPolicy, ParsedDocument, chunk_document
from aperag_testing.chaos.ingest import Ingest
from aperag_testing.chaos.judge import judge
from aperag_testing.chaos.observation import Accepted
from aperag_testing.chaos.observe import Observer
from aperag_testing.chaos.plan import UNITS, make_plan
from aperag_testing.chaos.rest import until_at_rest
from aperag_testing.client import UNFORESEEN

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_testing.client import Client, EventLog
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(420)

SEED = 20_261_122
DOCUMENTS = 200
KILLS = 10
PATIENCE = 60.0
WITHIN = 240.0
AT_REST_WITHIN = 90.0
"""Longer than the server waits for the ack of a message whose worker was killed (30 s)."""


def pieces(body: str) -> frozenset[tuple[int, str]]:
    """The same chunks as one indexer makes that nobody disturbs."""
    return frozenset((d.ordinal, d.text_hash) for d in chunk_document(ParsedDocument(body), ChunkPolicy()))


@pytest.mark.long
async def test_an_ingest_survives_the_death_of_every_process(
    stack: Stack, client: Client, rows: AsyncEngine, bus: Bus
) -> None:
    plan = make_plan(SEED, documents=DOCUMENTS, kills=KILLS)
    collection = await client.collection("chaos")
    ingest = Ingest(stack, client, rows, collection, plan, pieces, PATIENCE, WITHIN)
    async with client.events() as log:
        assert await ingest.run(), f"only {ingest.ended} of {DOCUMENTS} documents ended"
        rest = await until_at_rest(bus, rows, collection, within=AT_REST_WITHIN)
        assert rest.reached is not None, rest
        accepted = list(ingest.accepted.values())
        seen = await Observer(stack, client, rows, bus, log, collection).observe(accepted, accepted[::4])
    assert judge(seen, accepted) == []
    assert await events_in_stream(bus) == await facts(rows)
    assert len(accepted) == DOCUMENTS
    assert UNFORESEEN not in client.refused
    restarts = {unit["name"]: unit["restarts"] for unit in stack.state()["units"]}
    assert all(restarts[unit] for unit in UNITS), restarts
    await the_same_upload_names_the_same_document(client, ingest)


async def the_same_upload_names_the_same_document(client: Client, ingest: Ingest) -> None:
    living = [document for document in ingest.accepted.values() if not document.deleted]
    for document in living[::15]:
        again = await client.upload_patiently(ingest.collection, document.name, document.text.encode())
        assert again["id"] == document.id


def told_since_reset(log: EventLog) -> set[str]:
    types = [event.type for event in log.events]
    return {event.body["id"] for event in log.events[types.index("reset") + 1 :]} if "reset" in types else set()


async def facts(rows: AsyncEngine) -> int:
    async with rows.connect() as conn:
        return int((await conn.execute(text("SELECT count(*) FROM outbox"))).scalar_one())


async def events_in_stream(bus: Bus) -> int:
    return int((await bus.js.stream_info(subjects.EVENTS)).state.messages)


async def test_a_wiped_stream_store_costs_no_document_and_no_event(
    stack: Stack, client: Client, rows: AsyncEngine, bus: Bus
) -> None:
    collection = await client.collection("wiped")
    bodies = {f"{number}.txt": f"q{number}x Keeper {number} lights the lamp." for number in range(40)}
    async with client.events() as log:
        uploaded = await client.upload(collection, {name: body.encode() for name, body in bodies.items()})
        await log.until(lambda it: "index.activated" in {event.type for event in it.events})
        stack.wipe_jetstream()
        tasks = [document["task_id"] for document in uploaded]
        assert set((await log.until_ended(*tasks, within=AT_REST_WITHIN)).values()) == {"SUCCESS"}
        rest = await until_at_rest(bus, rows, collection, within=AT_REST_WITHIN)
        assert rest.reached is not None, rest
        accepted = [Accepted(it["id"], it["name"], bodies[it["name"]], pieces(bodies[it["name"]])) for it in uploaded]
        seen = await Observer(stack, client, rows, bus, log, collection).observe(accepted, accepted)
        # A reader whose gateway lived on is told everything of the new life, without asking.
        told_again = {fact.id for fact in seen.facts}
        await log.until(lambda it: told_again <= told_since_reset(it))
    assert judge(seen, accepted) == []
    assert [event.type for event in log.events].count("reset") == 1
    assert await events_in_stream(bus) == await facts(rows)
