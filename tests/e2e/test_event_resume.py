"""A reader of events that loses its gateway misses nothing and hears nothing twice."""

from __future__ import annotations

import asyncio
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.client import Client, EventLog
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)

WITHIN = 120.0
DOCUMENTS = 12
TOLD = 5
"""Events of one document that is indexed without trouble."""


async def facts_of(rows: AsyncEngine, collection: str) -> list[str]:
    """The ids of all events about the documents of a collection, as the database knows them."""
    query = text("SELECT id::text FROM outbox WHERE payload -> 'data' ->> 'collection_id' = :id")
    async with rows.connect() as conn:
        return list((await conn.execute(query, {"id": collection})).scalars())


@pytest.mark.long
async def test_a_reader_resumes_without_gap_or_duplicate_when_its_gateway_is_killed(
    stack: Stack, client: Client, rows: AsyncEngine
) -> None:
    collection = await client.collection()
    bodies = {f"{number}.txt": f"Document {number} tells of ebb and flow.".encode() for number in range(DOCUMENTS)}
    async with client.events() as log:
        uploads = [asyncio.create_task(client.upload_patiently(collection, *body)) for body in bodies.items()]
        await log.until(lambda it: any(event.type == "document.parsed" for event in it.events))
        stack.kill("api")
        uploaded = await asyncio.gather(*uploads)
        await log.until(lambda it: told_everything(it, [d["id"] for d in uploaded]), within=WITHIN)
    assert log.connections > 1
    heard = [event.body["id"] for event in log.events if event.data.get("collection_id") == collection]
    assert sorted(heard) == sorted(await facts_of(rows, collection))
    positions = [tuple(int(part) for part in event.id.split("-")) for event in log.events]
    assert all(earlier < later for earlier, later in pairwise(positions))
    assert "reset" not in {event.type for event in log.events}


def told_everything(log: EventLog, documents: list[str]) -> bool:
    return all(len(log.types_of(document)) >= TOLD for document in documents)
