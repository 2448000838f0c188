"""SQL of builds: the chunks that the parse serves."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_CHUNKS = text(
    """
    SELECT c.id, c.text, c.text_hash, c.details -> 'titles' AS titles, c.generation
    FROM chunk c JOIN document_index p ON p.document_id = c.document_id AND p.kind = 'parse'
        AND p.served_generation = c.generation
    WHERE c.document_id = :document ORDER BY c.ordinal
    """
)


@dataclass(frozen=True, slots=True)
class StoredChunk:
    """A chunk to be indexed; ``generation`` is the parse's."""

    id: str
    text: str
    text_hash: str
    titles: tuple[str, ...]
    generation: int


async def served_chunks(conn: AsyncConnection, document_id: str) -> list[StoredChunk]:
    rows = await conn.execute(_CHUNKS, {"document": document_id})
    return [StoredChunk(r.id, r.text, r.text_hash, tuple(r.titles or ()), r.generation) for r in rows]
