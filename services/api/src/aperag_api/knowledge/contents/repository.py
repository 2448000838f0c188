"""SQL of a document's chunks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.knowledge.contents.schemas import ChunkView

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_CHUNKS = text(
    """
    SELECT c.id, c.text, c.details AS metadata
    FROM chunk c JOIN document_index i
        ON i.document_id = c.document_id AND i.kind = 'parse' AND i.served_generation = c.generation
    WHERE c.document_id = :document
    ORDER BY c.ordinal
    """
)

_MARKDOWN = text("SELECT data ->> 'markdown' FROM document_index WHERE document_id = :document AND kind = 'parse'")


async def served_chunks(conn: AsyncConnection, document_id: str) -> list[ChunkView]:
    """The chunks of the newest finished parse, in reading order."""
    rows = await conn.execute(_CHUNKS, {"document": document_id})
    return [ChunkView(id=row.id, text=row.text, metadata=row.metadata) for row in rows]


async def served_markdown(conn: AsyncConnection, document_id: str) -> str | None:
    """The object that holds the Markdown of the newest finished parse."""
    path: str | None = (await conn.execute(_MARKDOWN, {"document": document_id})).scalar_one_or_none()
    return path
