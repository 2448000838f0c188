"""SQL of a purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_work.database import Statement

if TYPE_CHECKING:
    from aperag_work.database import Connection

MOST_CHUNKS = 20_000
"""A batch ends behind the document with which it has so many: a statement that takes too long is given up, each time."""

# Deleting the document cascades to its chunks, index rows and jobs: one owner of that truth, the schema.
_REMOVE_DOCUMENTS = Statement(
    "purge documents",
    """
    WITH sized AS (
        SELECT d.id, sum((p.data ->> 'chunks')::int)
            OVER (ORDER BY d.id ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING) AS chunks_before
        FROM (SELECT id FROM document WHERE collection_id = $1 ORDER BY id LIMIT $2::int) d
        LEFT JOIN document_index p ON p.document_id = d.id AND p.kind = 'parse'
    ), batch AS (
        SELECT id FROM document
        WHERE id IN (SELECT id FROM sized WHERE coalesce(chunks_before, 0) < $3::int) ORDER BY id FOR UPDATE
    )
    DELETE FROM document WHERE id IN (SELECT id FROM batch) RETURNING id
    """,
)
_REMOVE_WORKFLOWS = Statement(
    "purge workflows",
    """
    DELETE FROM workflow WHERE id IN (SELECT id FROM workflow WHERE collection_id = $1 LIMIT $2::int) RETURNING id
    """,
)
_REMOVE_COLLECTION = Statement("purge a collection", "DELETE FROM collection WHERE id = $1 RETURNING id")


async def remove_documents(conn: Connection, collection_id: str, *, limit: int) -> int:
    """How many were there to be removed; 0 when none is left."""
    return await _REMOVE_DOCUMENTS.count(conn, collection_id, limit, MOST_CHUNKS)


async def remove_workflows(conn: Connection, collection_id: str, *, limit: int) -> int:
    """The same of the tasks of its documents, also of those that were removed long before."""
    return await _REMOVE_WORKFLOWS.count(conn, collection_id, limit)


async def remove_collection(conn: Connection, collection_id: str) -> None:
    """What is left once documents and tasks are gone; searches kept and the summary go with the collection's row.

    What the collection counted against its owner's quota is to be given back in this transaction.
    """
    await _REMOVE_COLLECTION.fetch(conn, collection_id)
