"""SQL of a parse: chunks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_work.database import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_retrieval.chunking import ChunkDraft
    from aperag_work.database import Connection
    from aperag_work.rows import JobRow

FIRST_GENERATION = 1
"""Nothing is older."""

_EXISTS = text("SELECT 1 FROM chunk WHERE document_id = :document AND generation = :generation LIMIT 1")

_INSERT = Statement(
    "insert chunks",
    """
    INSERT INTO chunk (id, document_id, collection_id, generation, ordinal, text, text_hash, details)
    SELECT c.id, c.document_id, c.collection_id, c.generation, c.ordinal, c.text, c.text_hash, c.details::jsonb
    FROM unnest($1::text[], $2::text[], $3::text[], $4::int[], $5::int[], $6::text[], $7::text[], $8::text[])
        AS c(id, document_id, collection_id, generation, ordinal, text, text_hash, details) RETURNING 1
    """,
)

# Chunks of an older parse stay as long as an index serves them: searches go on while a document is rebuilt.
_REMOVE_UNUSED = Statement(
    "remove unused chunks",
    """
    DELETE FROM chunk c
    USING unnest($1::text[], $2::int[]) AS kept(document_id, generation)
    WHERE c.document_id = kept.document_id AND c.generation < kept.generation
        AND NOT EXISTS (SELECT 1 FROM chunk_vector v WHERE v.chunk_id = c.id)
        AND NOT EXISTS (SELECT 1 FROM chunk_term t WHERE t.chunk_id = c.id) RETURNING 1
    """,
)
_REMOVE_ALL = Statement("remove a document's chunks", "DELETE FROM chunk WHERE document_id = $1 RETURNING 1")


async def has_chunks(conn: AsyncConnection, document_id: str, generation: int) -> bool:
    found = await conn.execute(_EXISTS, {"document": document_id, "generation": generation})
    return found.one_or_none() is not None


async def add_chunks(conn: Connection, drafts: Sequence[tuple[JobRow, ChunkDraft]]) -> None:
    """Ids are made of document, generation and ordinal: the same chunk has the same id however often it is written."""
    if not drafts:
        return
    await _INSERT.fetch(
        conn,
        [f"{row.subject_id}-{row.generation}-{draft.ordinal}" for row, draft in drafts],
        [row.subject_id for row, _ in drafts],
        [row.collection_id for row, _ in drafts],
        [row.generation for row, _ in drafts],
        [draft.ordinal for _, draft in drafts],
        [draft.text for _, draft in drafts],
        [draft.text_hash for _, draft in drafts],
        [json.dumps(draft.details, ensure_ascii=False) for _, draft in drafts],
    )


async def remove_unused_chunks(conn: Connection, before: Mapping[str, int]) -> None:
    """``before`` maps documents to the generation of the parse that they serve."""
    older = {document_id: generation for document_id, generation in before.items() if generation > FIRST_GENERATION}
    if older:
        await _REMOVE_UNUSED.fetch(conn, list(older), list(older.values()))


async def remove_chunks(conn: Connection, document_id: str) -> None:
    await _REMOVE_ALL.fetch(conn, document_id)
