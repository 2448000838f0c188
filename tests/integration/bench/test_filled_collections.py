"""Collections that a benchmark writes itself are like those of the pipeline, and searches find them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from bench.harness.rows import MODEL
from bench.search import fill, material
from sqlalchemy import text

from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for
from aperag_retrieval.chunking import ChunkDraft, text_hash
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.lexical import PgFulltextIndex, query_terms, weigh
from aperag_retrieval.ports import TermQuery, VectorQuery
from aperag_testing.audit import BROKEN_BY
from aperag_testing.factories import make_collection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

TEXTS = [f"The moon raises tide number {number} in the old harbour of this town." for number in range(6)]
TOLD = {"every workflow told its end once"}
"""Promises about events, which only the pipeline's steps emit."""


def chunks() -> material.Chunks:
    """Of one document; random directions stand for embeddings."""
    vectors = np.random.default_rng(0).standard_normal((len(TEXTS), MODEL.dimensions)).astype(np.float32)
    drafts = [ChunkDraft(ordinal, content, text_hash(content), {"titles": []}) for ordinal, content in enumerate(TEXTS)]
    terms = weigh(analyzer_for(DEFAULT_ANALYZER), TEXTS, material.AVERAGE_LENGTH)
    return material.Chunks(drafts, vectors / np.linalg.norm(vectors, axis=1, keepdims=True), terms)


async def test_a_filled_collection_keeps_the_promises_of_a_processed_one(engine: AsyncEngine) -> None:
    async with engine.begin() as conn:
        collection = await make_collection(conn)
    await fill.fill(engine, collection, [chunks()], 2 * material.CHUNKS_PER_DOCUMENT)
    async with engine.connect() as conn:
        for promise, query in BROKEN_BY.items():
            if promise not in TOLD:
                assert (await conn.execute(text(query), {"collection": collection})).all() == [], promise
        rows = await conn.execute(text("SELECT DISTINCT text FROM chunk"))
        assert len(rows.all()) > len(TEXTS), "the second document is not a copy word for word"


async def test_both_indexes_find_an_original_before_its_copies(engine: AsyncEngine) -> None:
    original = chunks()
    async with engine.begin() as conn:
        collection = await make_collection(conn)
    await fill.fill(engine, collection, [original], 3 * material.CHUNKS_PER_DOCUMENT)
    async with engine.connect() as conn:
        asked = VectorQuery(collection, MODEL.id, original.vectors[2])
        nearest = await PgVectorIndex().search(conn, asked, 3)
        assert nearest[0].text_hash == original.drafts[2].text_hash
        assert nearest[0].score > 0.99
        assert all(0.8 < found.score < 0.97 for found in nearest[1:]), "copies are near, not equal"
        terms = TermQuery(collection, query_terms(analyzer_for(DEFAULT_ANALYZER), TEXTS[4]))
        best = await PgFulltextIndex().search(conn, terms, 1)
        assert best[0].text_hash == original.drafts[4].text_hash


def test_the_same_copy_is_the_same_each_time() -> None:
    first, second, other = (material.copy(chunks(), number) for number in (1, 1, 2))
    assert first.drafts == second.drafts
    assert np.array_equal(first.vectors, second.vectors)
    assert other.drafts != first.drafts
    assert np.allclose(np.linalg.norm(first.vectors, axis=1), 1, atol=1e-5)
