"""A document's life as a person meets it: uploaded, watched, found, rebuilt, deleted."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httpx
import pytest
from sqlalchemy import text

from aperag_testing.waiting import until

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.client import Client
    from aperag_testing.stack import Stack

pytestmark = pytest.mark.timeout(180)

TEA = b"Green tea is steamed soon after it was picked; black tea withers and oxidises first."
TELLING = ["document.uploaded", "document.parsed", "index.activated", "index.activated", "document.indexed"]
REMAINS = """
    SELECT (SELECT count(*) FROM document_index WHERE document_id = :id) + (SELECT count(*) FROM chunk WHERE document_id = :id)
        + (SELECT count(*) FROM chunk_vector WHERE document_id = :id)
        + (SELECT count(*) FROM chunk_term WHERE document_id = :id)
"""


async def count(rows: AsyncEngine, query: str, **parameters: Any) -> int:
    async with rows.connect() as conn:
        return int((await conn.execute(text(query), parameters)).scalar_one())


async def searchable(client: Client, collection: str, name: str, body: bytes) -> dict[str, Any]:
    """An uploaded document whose indexes are all active."""
    async with client.events() as log:
        (document,) = await client.upload(collection, {name: body})
        assert await log.until_ended(document["task_id"]) == {document["task_id"]: "SUCCESS"}
    return document


async def test_every_stage_of_an_upload_is_told_once_and_in_order(client: Client) -> None:
    collection = await client.collection()
    async with client.events() as log:
        (document,) = await client.upload(collection, {"tea.txt": TEA})
        await log.until_ended(document["task_id"])
        await log.until(lambda it: len(it.types_of(document["id"])) >= len(TELLING))
    about_it = [event for event in log.events if event.data["document_id"] == document["id"]]
    by_revision = sorted(about_it, key=lambda event: (event.data["revision"], event.type == "document.indexed"))
    assert [event.type for event in by_revision] == TELLING
    assert {event.data["kind"] for event in about_it if event.type == "index.activated"} == {"vector", "fulltext"}
    assert len({event.body["id"] for event in about_it}) == len(TELLING)
    assert (await client.document(collection, document["id"]))["status"] == "COMPLETE"


async def test_a_search_sees_what_it_was_told_to_wait_for(client: Client) -> None:
    collection = await client.collection()
    (document,) = await client.upload(collection, {"tea.txt": TEA})
    hits = await client.search(collection, "how is green tea made", wait_for=[document["task_id"]])
    assert [hit["metadata"]["document_id"] for hit in hits] == [document["id"]]


async def test_a_document_stays_searchable_while_it_is_rebuilt(client: Client, rows: AsyncEngine) -> None:
    collection = await client.collection()
    document = await searchable(client, collection, "tea.txt", TEA)
    path = f"/collections/{collection}/documents/{document['id']}/rebuild_indexes"
    async with client.events() as log:
        rebuilt = await client.json("POST", path, json={"index_types": ["VECTOR", "FULLTEXT"]})
        while rebuilt["task_id"] not in log.outcomes():
            assert await client.search(collection, "withers and oxidises"), "not found during the rebuild"
    assert log.outcomes()[rebuilt["task_id"]] == "SUCCESS"
    assert await client.search(collection, "withers and oxidises")
    served = "SELECT count(*) FROM document_index WHERE document_id = :id AND served_generation = 2 AND kind <> 'parse'"
    assert await count(rows, served, id=document["id"]) == 2
    stale = "SELECT count(*) FROM chunk_vector WHERE document_id = :id AND generation < 2"
    assert await count(rows, stale, id=document["id"]) == 0


async def test_a_deleted_document_is_gone_at_once_and_its_rows_and_bytes_soon(
    client: Client, rows: AsyncEngine, stack: Stack
) -> None:
    collection = await client.collection()
    document = await searchable(client, collection, "tea.txt", TEA)
    (bytes_of_it,) = stack.objects.glob(f"*/{collection}/{document['id']}")
    path = f"/collections/{collection}/documents/{document['id']}"
    async with client.events() as log:
        deleted = await client.json("DELETE", path)
        assert await client.search(collection, "green tea") == []
        assert (await client.http.get(path)).status_code == httpx.codes.NOT_FOUND
        assert await log.until_ended(deleted["task_id"]) == {deleted["task_id"]: "SUCCESS"}
    assert await count(rows, REMAINS, id=document["id"]) == 0
    assert not bytes_of_it.exists()


async def test_a_deleted_collection_is_purged_with_everything_in_it(
    client: Client, rows: AsyncEngine, stack: Stack
) -> None:
    collection = await client.collection()
    async with client.events() as log:
        uploaded = await client.upload(collection, {f"tea-{number}.txt": TEA for number in range(3)})
        await log.until_ended(*(document["task_id"] for document in uploaded))
    (bytes_of_it,) = stack.objects.glob(f"*/{collection}")
    await client.json("DELETE", f"/collections/{collection}")
    assert (await client.http.get(f"/collections/{collection}")).status_code == httpx.codes.NOT_FOUND
    left = """
        SELECT (SELECT count(*) FROM collection WHERE id = :id) + (SELECT count(*) FROM document WHERE collection_id = :id)
            + (SELECT count(*) FROM chunk WHERE collection_id = :id) + (SELECT count(*) FROM workflow WHERE collection_id = :id)
    """

    async def purged() -> bool:
        return await count(rows, left, id=collection) == 0

    await until(purged)
    assert not bytes_of_it.exists()
