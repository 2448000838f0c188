"""SQL of the parse step: chunks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.dispatch import StepRow
    from aperag_retrieval.chunking import ChunkDraft

_EXISTS = text("SELECT 1 FROM chunk WHERE document_id = :document AND generation = :generation LIMIT 1")

_INSERT = text(
    """
    INSERT INTO chunk (id, document_id, collection_id, generation, ordinal, text, text_hash, details)
    SELECT c.id, :document, :collection, :generation, c.ordinal, c.text, c.text_hash, c.details::jsonb
    FROM unnest(CAST(:ids AS text[]), CAST(:ordinals AS int[]), CAST(:texts AS text[]), CAST(:hashes AS text[]),
        CAST(:details AS text[])) AS c(id, ordinal, text, text_hash, details)
    """
)

# Chunks of an older parse stay as long as an index serves them: searches go on while a document is rebuilt.
_REMOVE_UNUSED = text(
    """
    DELETE FROM chunk c WHERE c.document_id = :document AND c.generation < :generation
        AND NOT EXISTS (SELECT 1 FROM chunk_vector v WHERE v.chunk_id = c.id)
        AND NOT EXISTS (SELECT 1 FROM chunk_term t WHERE t.chunk_id = c.id)
    """
)


async def has_chunks(conn: AsyncConnection, document_id: str, generation: int) -> bool:
    found = await conn.execute(_EXISTS, {"document": document_id, "generation": generation})
    return found.one_or_none() is not None


async def add_chunks(conn: AsyncConnection, row: StepRow, drafts: Sequence[ChunkDraft]) -> None:
    """Ids are made of document, generation and ordinal: the same chunk has the same id however often it is written."""
    await conn.execute(
        _INSERT,
        {
            "document": row.document_id,
            "collection": row.collection_id,
            "generation": row.generation,
            "ids": [f"{row.document_id}-{row.generation}-{draft.ordinal}" for draft in drafts],
            "ordinals": [draft.ordinal for draft in drafts],
            "texts": [draft.text for draft in drafts],
            "hashes": [draft.text_hash for draft in drafts],
            "details": [json.dumps(draft.details, ensure_ascii=False) for draft in drafts],
        },
    )


async def remove_unused_chunks(conn: AsyncConnection, document_id: str, *, before: int) -> None:
    await conn.execute(_REMOVE_UNUSED, {"document": document_id, "generation": before})
