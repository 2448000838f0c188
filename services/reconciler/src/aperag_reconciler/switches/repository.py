"""SQL of what a change of embedding model leaves behind."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_work.switching import MODELS

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

# Two ranges of the index on collection and model, where ``<>`` would read all of the collection.
_LEFTOVERS = text(
    """
    SELECT DISTINCT document_id FROM (
        SELECT document_id FROM chunk_vector
        WHERE collection_id = :collection AND (model < :model OR model > :model) LIMIT :limit) AS left_over
    ORDER BY document_id
    """
)

_REMOVE = text("DELETE FROM chunk_vector WHERE document_id = ANY(:documents) AND model <> :model")

_FORGET = text(
    f"""
    UPDATE document_index i SET data = i.data || jsonb_build_object('models', (
        SELECT coalesce(jsonb_agg(m), '[]') FROM jsonb_array_elements({MODELS}) m WHERE m = to_jsonb(CAST(:model AS text))))
    WHERE i.document_id = ANY(:documents) AND i.kind = 'vector'
    """
)


async def leftovers(conn: AsyncConnection, collection_id: str, model: str, *, limit: int) -> list[str]:
    """Documents of the first ``limit`` rows that are not of ``model``."""
    values = {"collection": collection_id, "model": model, "limit": limit}
    return [row.document_id for row in await conn.execute(_LEFTOVERS, values)]


async def remove_leftovers(conn: AsyncConnection, documents: Sequence[str], model: str) -> int:
    """How many rows were not of ``model``; the caller holds the documents, for what is said of them changes with them."""
    values = {"documents": list(documents), "model": model}
    removed = (await conn.execute(_REMOVE, values)).rowcount
    await conn.execute(_FORGET, values)
    return removed
