"""SQL of builds: the chunks that the parse serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text as sql

from aperag_retrieval.chunking import text_hash
from aperag_retrieval.context import contextual

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_CHUNKS = sql(
    """
    SELECT c.id, c.text, c.details -> 'titles' AS titles, c.generation, d.name
    FROM chunk c JOIN document d ON d.id = c.document_id JOIN document_index p ON p.document_id = c.document_id AND p.kind = 'parse'
        AND p.served_generation = c.generation
    WHERE c.document_id = :document ORDER BY c.ordinal
    """
)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk to be indexed, as ``text`` with what it is found by beside its own; ``generation`` is the parse's."""

    id: str
    text: str
    text_hash: str
    generation: int


async def served_chunks(conn: AsyncConnection, document_id: str) -> list[StoredChunk]:
    rows = await conn.execute(_CHUNKS, {"document": document_id})
    found = [(row, contextual(row.name, row.titles or (), row.text)) for row in rows]
    return [StoredChunk(row.id, text, text_hash(text), row.generation) for row, text in found]
