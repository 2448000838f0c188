"""SQL of a purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

# Deleting the document cascades to its steps, chunks and index rows: one owner of that truth, the schema.
_REMOVE_DOCUMENTS = text(
    """
    DELETE FROM document WHERE id IN (
        SELECT id FROM document WHERE collection_id = :id ORDER BY id LIMIT :limit FOR UPDATE)
    """
)
_REMOVE_WORKFLOWS = text("DELETE FROM workflow WHERE collection_id = :id")
_REMOVE_COLLECTION = text("DELETE FROM collection WHERE id = :id")


async def remove_documents(conn: AsyncConnection, collection_id: str, *, limit: int) -> int:
    """How many were there to be removed; 0 when none is left."""
    return (await conn.execute(_REMOVE_DOCUMENTS, {"id": collection_id, "limit": limit})).rowcount


async def remove_collection(conn: AsyncConnection, collection_id: str) -> None:
    """What is left once its documents are gone; searches kept and the summary go with the collection's row.

    What the collection counted against its owner's quota is to be given back in this transaction.
    """
    await conn.execute(_REMOVE_WORKFLOWS, {"id": collection_id})
    await conn.execute(_REMOVE_COLLECTION, {"id": collection_id})
