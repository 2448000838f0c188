"""SQL of builds: the chunks that the parse serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text as sql

from aperag_retrieval.chunking import text_hash
from aperag_retrieval.context import contextual, meant

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
    """A chunk to be indexed with its surroundings: ``text`` for words, ``meaning`` for an encoder, with its hash.

    ``generation`` is the parse's.
    """

    id: str
    text: str
    meaning: str
    text_hash: str
    generation: int


async def served_chunks(conn: AsyncConnection, document_id: str) -> list[StoredChunk]:
    rows = await conn.execute(_CHUNKS, {"document": document_id})
    return [_stored(row) for row in rows]


def _stored(row: Any) -> StoredChunk:
    around = (row.name, row.titles or (), row.text)
    meaning = meant(*around)
    return StoredChunk(row.id, contextual(*around), meaning, text_hash(meaning), row.generation)
