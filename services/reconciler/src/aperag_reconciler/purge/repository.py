"""SQL of a purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

MOST_CHUNKS = 20_000
"""A batch ends behind the document with which it has so many: a statement that takes too long is given up, each time."""

# Deleting the document cascades to its steps, chunks and index rows: one owner of that truth, the schema.
_REMOVE_DOCUMENTS = text(
    """
    WITH sized AS (
        SELECT d.id, sum((p.data ->> 'chunks')::int)
            OVER (ORDER BY d.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS chunks_before
        FROM (SELECT id FROM document WHERE collection_id = :id ORDER BY id LIMIT :limit) d
        LEFT JOIN document_step p ON p.document_id = d.id AND p.kind = 'parse'
    ), batch AS (
        SELECT id FROM document
        WHERE id IN (SELECT id FROM sized WHERE coalesce(chunks_before, 0) < :chunks) ORDER BY id FOR UPDATE
    )
    DELETE FROM document WHERE id IN (SELECT id FROM batch)
    """
)
_REMOVE_WORKFLOWS = text(
    "DELETE FROM workflow WHERE id IN (SELECT id FROM workflow WHERE collection_id = :id LIMIT :limit)"
)
_REMOVE_COLLECTION = text("DELETE FROM collection WHERE id = :id")


async def remove_documents(conn: AsyncConnection, collection_id: str, *, limit: int) -> int:
    """How many were there to be removed; 0 when none is left."""
    values = {"id": collection_id, "limit": limit, "chunks": MOST_CHUNKS}
    return (await conn.execute(_REMOVE_DOCUMENTS, values)).rowcount


async def remove_workflows(conn: AsyncConnection, collection_id: str, *, limit: int) -> int:
    """The same of the tasks of its documents, also of those that were removed long before."""
    return (await conn.execute(_REMOVE_WORKFLOWS, {"id": collection_id, "limit": limit})).rowcount


async def remove_collection(conn: AsyncConnection, collection_id: str) -> None:
    """What is left once documents and tasks are gone; searches kept and the summary go with the collection's row.

    What the collection counted against its owner's quota is to be given back in this transaction.
    """
    await conn.execute(_REMOVE_COLLECTION, {"id": collection_id})
