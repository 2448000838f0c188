"""What is left of the events, seen from outside once the system is at rest."""

from __future__ import annotations

from typing import TYPE_CHECKING

from nats.errors import Error as NatsError
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import subjects
from aperag_testing.chaos.outside import Outside, SeenDocument, SeenEvent, newest
from aperag_testing.chaos.plan import word_of
from aperag_testing.chaos.rest import commands_left

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_testing.chaos.outside import OutsidePlan
    from aperag_testing.client import Client

PAGE = 100
SEARCHED = 100

_SETTLED = text("SELECT count(*) FROM ingest_event WHERE collection_id = :collection AND status <> 'PENDING'")
_EVENTS = text("SELECT event_id, status, code FROM ingest_event WHERE collection_id = :collection")
_HASHES = text("SELECT name, sha256 FROM document WHERE collection_id = :collection AND deleted_at IS NULL")
_TOLD = text(
    """
    SELECT payload -> 'data' ->> 'id' AS id, count(*) AS times FROM outbox
    WHERE payload -> 'data' ->> 'collection_id' = :collection
        AND payload ->> 'type' IN ('ingest.completed', 'ingest.failed') GROUP BY 1
    """
)
_LETTERS = text("SELECT count(*) FROM dead_letter")


async def settled(rows: AsyncEngine, collection: str) -> int:
    """0 where the database is away: it is one of those that are killed."""
    try:
        async with rows.connect() as conn:
            return int((await conn.execute(_SETTLED, {"collection": collection})).scalar_one())
    except (SQLAlchemyError, OSError):
        return 0


async def observe(client: Client, rows: AsyncEngine, bus: Bus, collection: str, plan: OutsidePlan) -> Outside:
    named = {"collection": collection}
    async with rows.connect() as conn:
        events = [SeenEvent(*row) for row in await conn.execute(_EVENTS, named)]
        hashes = {row.name: row.sha256 for row in await conn.execute(_HASHES, named)}
        told = {row.id: row.times for row in await conn.execute(_TOLD, named)}
        letters = int((await conn.execute(_LETTERS)).scalar_one())
    listed = await _listed(client, collection)
    found = await _found(client, collection, plan, {name: id_ for id_, name, _ in listed})
    documents = [
        SeenDocument(name, status, hashes.get(name, ""), searchable=found.get(name)) for _, name, status in listed
    ]
    return Outside(events, documents, told, letters, await commands_left(bus) + await _untaken(bus))


async def _listed(client: Client, collection: str) -> list[tuple[str, str, str]]:
    """Id, name and status of each document as the gateway lists it."""
    found: list[tuple[str, str, str]] = []
    page = 1
    while True:
        query = {"page": page, "page_size": PAGE, "sort_order": "asc"}
        answer = await client.json("GET", f"/collections/{collection}/documents", params=query)
        found += [(it["id"], it["name"], it["status"]) for it in answer["items"]]
        if not answer["has_next"]:
            return found
        page += 1


async def _found(client: Client, collection: str, plan: OutsidePlan, ids: dict[str, str]) -> dict[str, bool]:
    """Whether a search for its own word finds each of some documents."""
    living = [(name, content) for name, content in newest(plan).items() if content is not None and name in ids]
    found: dict[str, bool] = {}
    for name, content in living[:: max(1, len(living) // SEARCHED)]:
        hits = await client.search(collection, word_of(content), legs=("fulltext",))
        found[name] = ids[name] in {hit["metadata"]["document_id"] for hit in hits}
    return found


async def _untaken(bus: Bus) -> int:
    try:
        return int((await bus.js.stream_info(subjects.INGEST)).state.messages)
    except (NatsError, OSError):
        return -1
