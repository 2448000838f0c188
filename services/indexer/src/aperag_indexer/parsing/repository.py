"""SQL of the parse step: chunks."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.dispatch import StepRow
    from aperag_retrieval.chunking import ChunkDraft

FIRST_GENERATION = 1
"""Nothing is older."""

_EXISTS = text("SELECT 1 FROM chunk WHERE document_id = :document AND generation = :generation LIMIT 1")

_INSERT = text(
    """
    INSERT INTO chunk (id, document_id, collection_id, generation, ordinal, text, text_hash, details)
    SELECT c.id, c.document_id, c.collection_id, c.generation, c.ordinal, c.text, c.text_hash, c.details::jsonb
    FROM unnest(CAST(:ids AS text[]), CAST(:documents AS text[]), CAST(:collections AS text[]),
        CAST(:generations AS int[]), CAST(:ordinals AS int[]), CAST(:texts AS text[]), CAST(:hashes AS text[]),
        CAST(:details AS text[]))
        AS c(id, document_id, collection_id, generation, ordinal, text, text_hash, details)
    """
)

# Chunks of an older parse stay as long as an index serves them: searches go on while a document is rebuilt.
_REMOVE_UNUSED = text(
    """
    DELETE FROM chunk c
    USING unnest(CAST(:documents AS text[]), CAST(:generations AS int[])) AS kept(document_id, generation)
    WHERE c.document_id = kept.document_id AND c.generation < kept.generation
        AND NOT EXISTS (SELECT 1 FROM chunk_vector v WHERE v.chunk_id = c.id)
        AND NOT EXISTS (SELECT 1 FROM chunk_term t WHERE t.chunk_id = c.id)
    """
)


async def has_chunks(conn: AsyncConnection, document_id: str, generation: int) -> bool:
    found = await conn.execute(_EXISTS, {"document": document_id, "generation": generation})
    return found.one_or_none() is not None


async def add_chunks(conn: AsyncConnection, drafts: Sequence[tuple[StepRow, ChunkDraft]]) -> None:
    """Ids are made of document, generation and ordinal: the same chunk has the same id however often it is written."""
    if not drafts:
        return
    await conn.execute(
        _INSERT,
        {
            "ids": [f"{row.document_id}-{row.generation}-{draft.ordinal}" for row, draft in drafts],
            "documents": [row.document_id for row, _ in drafts],
            "collections": [row.collection_id for row, _ in drafts],
            "generations": [row.generation for row, _ in drafts],
            "ordinals": [draft.ordinal for _, draft in drafts],
            "texts": [draft.text for _, draft in drafts],
            "hashes": [draft.text_hash for _, draft in drafts],
            "details": [json.dumps(draft.details, ensure_ascii=False) for _, draft in drafts],
        },
    )


async def remove_unused_chunks(conn: AsyncConnection, before: Mapping[str, int]) -> None:
    """``before`` maps documents to the generation of the parse that they serve."""
    older = {document_id: generation for document_id, generation in before.items() if generation > FIRST_GENERATION}
    if older:
        await conn.execute(_REMOVE_UNUSED, {"documents": list(older), "generations": list(older.values())})
