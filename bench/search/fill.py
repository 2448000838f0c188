"""Collections as the pipeline would have left them, written without it: a hundred thousand chunks in a minute or two."""

from __future__ import annotations

import asyncio
from itertools import cycle, islice
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.pool import ProcessPool
from aperag_indexer.settings import PoolSettings
from aperag_retrieval.ports import IndexTarget
from aperag_testing.factories import make_upload
from bench.harness.database import maintenance
from bench.harness.rows import FIRST_GENERATION, MODEL, Content, write
from bench.search.material import CHUNKS_PER_DOCUMENT, Chunks, copy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_testing.stack import Stack

WRITERS = 4
BUILD_MEMORY = "1GB"
TABLES = ("document", "job", "document_index", "chunk", "chunk_vector", "chunk_term")

_VECTOR_INDEX = """
    SELECT indexname, indexdef FROM pg_indexes
    WHERE tablename = 'chunk_vector' AND indexdef LIKE '%hnsw%' AND position(quote_literal($1) IN indexdef) > 0
"""
_SETTLE_JOBS = text(
    """
    WITH settled AS (
        UPDATE job SET status = 'ACTIVE', observed_generation = generation, dispatch = 1, attempt = 1,
            due_at = 'infinity', settled_at = clock_timestamp()
        WHERE subject_id = :document RETURNING replace(kind, 'index.', '') AS step, generation
    )
    INSERT INTO document_index (document_id, kind, served_generation, data)
    SELECT :document, step, generation, jsonb_build_object('chunks', CAST(:chunks AS int)) FROM settled
    """
)
_SETTLE = (
    text("UPDATE document SET status = 'COMPLETE' WHERE id = :document"),
    text(
        """
        UPDATE workflow_step SET outcome = 'done', finished = clock_timestamp()
        WHERE workflow_id IN (SELECT id FROM workflow WHERE document_id = :document)
        """
    ),
    text("UPDATE workflow SET status = 'SUCCESS', finished = clock_timestamp() WHERE document_id = :document"),
)


async def fill(engine: AsyncEngine, collection: str, originals: Sequence[Chunks], chunks: int) -> None:
    """The originals first, then copies of them; ``chunks`` is rounded up to whole documents."""
    documents = -(-chunks // CHUNKS_PER_DOCUMENT)
    parts = enumerate(islice(cycle(originals), documents))
    pool = ProcessPool(PoolSettings().workers)

    async def store() -> None:
        for number, part in parts:
            times = number // len(originals)
            await _store(engine, collection, await pool.run(copy, part, times) if times else part)

    try:
        await asyncio.gather(*(store() for _ in range(WRITERS)))
    finally:
        await pool.close()


async def drop_vector_index(stack: Stack) -> str:
    """The statement that makes it again: built over all rows at once it takes a tenth of the time."""
    async with maintenance(stack) as connection:
        index = await connection.fetchrow(_VECTOR_INDEX, MODEL.id)
        await connection.execute(f"DROP INDEX {index['indexname']}")
    return str(index["indexdef"])


async def finish(stack: Stack, index_definition: str) -> None:
    """The vector index, and what autovacuum would have done by the time that anyone searches so much."""
    async with maintenance(stack) as connection:
        await connection.execute(f"SET maintenance_work_mem = '{BUILD_MEMORY}'")
        await connection.execute(index_definition)
        for table in TABLES:
            await connection.execute(f"VACUUM ANALYZE {table}")


async def _store(engine: AsyncEngine, collection: str, chunks: Chunks) -> None:
    async with engine.begin() as conn:
        document = (await make_upload(conn, collection_id=collection)).document_id
        target = IndexTarget(document, collection, FIRST_GENERATION)
        await write(conn, [Content(target, chunks.drafts, chunks.vectors, chunks.terms)])
        await _settle(conn, document, len(chunks.drafts))


async def _settle(conn: AsyncConnection, document: str, chunks: int) -> None:
    """In the transaction that made the rows, so that no worker ever sees the document unfinished."""
    await conn.execute(_SETTLE_JOBS, {"document": document, "chunks": chunks})
    for statement in _SETTLE:
        await conn.execute(statement, {"document": document})
