"""Chunks and both indexes' rows of documents, written as the pipeline's jobs write them."""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from sqlalchemy import insert

from aperag_common.db.models import Chunk
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.lexical import PgFulltextIndex
from aperag_retrieval.local import MODELS, default_model, encode
from aperag_retrieval.ports import IndexTarget, TermRow, VectorRow

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_retrieval.chunking import ChunkDraft
    from aperag_retrieval.lexical import Weighed
    from aperag_retrieval.ports import Vector

MODEL = MODELS[default_model(fast=os.environ.get("APERAG_MODELS__LOCAL") == "fast")]
"""The stack chooses it in the same way."""
FIRST_GENERATION = 1
VECTORS, FULLTEXT = PgVectorIndex(), PgFulltextIndex()


@dataclass(frozen=True, slots=True)
class Content:
    """What one document leaves behind: for each chunk a draft, a row of ``vectors`` and its terms."""

    target: IndexTarget
    drafts: Sequence[ChunkDraft]
    vectors: Vector
    terms: Sequence[Weighed]

    @property
    def ids(self) -> list[str]:
        return [f"{self.target.document_id}-{self.target.generation}-{draft.ordinal}" for draft in self.drafts]


def embed(texts: Sequence[str]) -> Vector:
    """In this process, in batches as the indexer's processes get them."""
    batches = (tuple(texts[start : start + MODEL.batch]) for start in range(0, len(texts), MODEL.batch))
    return np.concatenate([encode(MODEL.id, batch) for batch in batches])


async def write(conn: AsyncConnection, contents: Sequence[Content]) -> None:
    """The documents' own rows are there already."""
    await conn.execute(insert(Chunk), [row for content in contents for row in _chunks(content)])
    await VECTORS.write(conn, MODEL.id, [row for content in contents for row in _vectors(content)])
    await FULLTEXT.write(conn, [row for content in contents for row in _terms(content)])


def _chunks(content: Content) -> list[dict[str, Any]]:
    return [
        {
            "id": chunk_id,
            "document_id": content.target.document_id,
            "collection_id": content.target.collection_id,
            "generation": content.target.generation,
            "ordinal": draft.ordinal,
            "text": draft.text,
            "text_hash": draft.text_hash,
            "details": draft.details,
        }
        for chunk_id, draft in zip(content.ids, content.drafts, strict=True)
    ]


def _vectors(content: Content) -> list[VectorRow]:
    found = zip(content.ids, content.drafts, content.vectors, strict=True)
    return [VectorRow(content.target, chunk_id, draft.text_hash, vector) for chunk_id, draft, vector in found]


def _terms(content: Content) -> list[TermRow]:
    found = zip(content.ids, content.terms, strict=True)
    return [TermRow(content.target, chunk_id, terms.length, terms.weights) for chunk_id, terms in found]
