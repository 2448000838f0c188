"""The dense leg in PostgreSQL: pgvector's half-precision vectors, compared by cosine."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

import numpy as np
from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import REAL, ColumnElement, Float, String, bindparam, cast, event, select, text, type_coerce
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from aperag_common.db.models import ChunkVector
from aperag_common.jobs.steps import StepKind
from aperag_retrieval.ports import Candidate, IndexTarget, Vector, VectorQuery, VectorRow
from aperag_retrieval.served import SURPLUS, candidates, kept, removal_of_other_generations, served
from aperag_work.database import Connection, Statement, driver

# One flat array of floats for all rows: encoding it costs a tenth of pgvector's text form.
_WRITE = Statement(
    "write vectors",
    """
    INSERT INTO chunk_vector (chunk_id, model, generation, document_id, collection_id, text_hash, embedding)
    SELECT r.chunk_id, $1::text, r.generation, r.document_id, r.collection_id, r.text_hash,
           CAST(f.flat[(r.n - 1) * $2::int + 1 : r.n * $2::int] AS halfvec)
    FROM (SELECT $3::real[] AS flat) f,
         unnest($4::text[], $5::text[], $6::int[], $7::text[], $8::text[])
             WITH ORDINALITY r(chunk_id, text_hash, generation, document_id, collection_id, n)
    ON CONFLICT (chunk_id, model, generation) DO UPDATE SET embedding = excluded.embedding RETURNING 1
    """,
)
_REMOVE = Statement("remove vectors", "DELETE FROM chunk_vector WHERE document_id = $1 RETURNING 1")
EXACT_VECTORS = 20_000
"""Up to so many of a collection every one is compared. That costs a few milliseconds and misses none; the index spans all
collections, and a scan of it costs ten times as much where most of what it finds is another's.
"""
SIZE_SECONDS = 30.0
"""A collection that has grown meanwhile is compared whole a little longer."""
MOST_COLLECTIONS = 1000
EF_SEARCH = 320
"""Candidates of the first round of an HNSW scan: recall@100 of 0.94 in a collection of 100,000 chunks, 0.91 with 200."""
REMEMBERED_MODELS = 256

_REMOVE_STALE = removal_of_other_generations(ChunkVector.__tablename__)
_SIZE = text(
    """
    SELECT count(*) FROM (
        SELECT FROM chunk_vector WHERE collection_id = :collection AND model = :model LIMIT :limit) AS counted
    """
)


@dataclass(frozen=True)
class _Statements:
    nearest: Any
    nearest_exact: Any
    scores: Any


@lru_cache(maxsize=REMEMBERED_MODELS)
def _statements(model: str, dimensions: int) -> _Statements:
    """Of one model: PostgreSQL uses an index over one model's vectors only where the model stands in the statement."""
    query = cast(bindparam("embedding", type_=ARRAY(REAL)), HALFVEC(dimensions))
    distance: ColumnElement[float] = type_coerce(
        cast(ChunkVector.embedding, HALFVEC(dimensions)).op("<=>")(query), Float
    )
    of_model = ChunkVector.model == bindparam("model", model, type_=String, literal_execute=True)
    found = select(
        ChunkVector.chunk_id,
        ChunkVector.document_id,
        ChunkVector.collection_id,
        ChunkVector.generation,
        (1 - distance).label("score"),
    ).where(of_model)
    of_collection = found.where(ChunkVector.collection_id == bindparam("collection_id"))
    named = ChunkVector.chunk_id == bindparam("chunk_ids", type_=ARRAY(ChunkVector.chunk_id.type)).any_()
    return _Statements(
        _nearest(of_collection, distance),
        # No index is ordered by this sum, so it is exact.
        _nearest(of_collection, distance + 0),
        served(found.where(named).subquery("found"), StepKind.VECTOR),
    )


def _nearest(found: Any, order: ColumnElement[float]) -> Any:
    return served(found.order_by(order).limit(bindparam("reach")).subquery("found"), StepKind.VECTOR)


def tune_connections(engine: AsyncEngine) -> None:
    """Set for whole sessions what each search would otherwise have to set in a transaction of its own.

    An HNSW scan, where the planner chooses one, goes on until the filter has let enough through.
    """

    def tune(connection: Any, _record: Any) -> None:
        cursor = connection.cursor()
        cursor.execute("SET hnsw.iterative_scan = 'relaxed_order'")
        cursor.execute(f"SET hnsw.ef_search = {EF_SEARCH}")
        cursor.close()
        connection.commit()

    event.listen(engine.sync_engine, "connect", tune)


class CollectionSizes:
    """Whether collections are small enough to be compared whole; one per process."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._known: dict[tuple[str, str], tuple[bool, float]] = {}

    async def small(self, conn: AsyncConnection, collection_id: str, model: str) -> bool:
        key, now = (collection_id, model), self._clock()
        small, until = self._known.get(key, (False, 0.0))
        if now < until:
            return small
        # With their documents' rows gone or not: this decides what a search costs, not what it finds.
        values = {"collection": collection_id, "model": model, "limit": EXACT_VECTORS + 1}
        small = int((await conn.execute(_SIZE, values)).scalar_one()) <= EXACT_VECTORS
        if len(self._known) >= MOST_COLLECTIONS:
            self._known.clear()
        self._known[key] = small, now + SIZE_SECONDS
        return small


class PgVectorIndex:
    """Small collections are compared whole, larger ones searched by HNSW. The planner does not choose: it took the index
    for 5,000 chunks beside 200,000 of others, at up to 36 times the cost.
    """

    def __init__(self, sizes: CollectionSizes | None = None) -> None:
        self._sizes = sizes or CollectionSizes()

    async def write(self, conn: Connection | AsyncConnection, model: str, rows: Sequence[VectorRow]) -> None:
        if not rows:
            return
        flat = np.stack([row.embedding for row in rows]).ravel()
        await _WRITE.fetch(
            await driver(conn),
            model,
            rows[0].embedding.size,
            flat.tolist(),
            [row.chunk_id for row in rows],
            [row.text_hash for row in rows],
            [row.target.generation for row in rows],
            [row.target.document_id for row in rows],
            [row.target.collection_id for row in rows],
        )

    async def reusable(self, conn: AsyncConnection, document_id: str, model: str) -> dict[str, Vector]:
        statement = (
            select(ChunkVector.text_hash, cast(ChunkVector.embedding, ARRAY(REAL)))
            .distinct(ChunkVector.text_hash)
            .where(ChunkVector.document_id == document_id, ChunkVector.model == model)
        )
        rows = (await conn.execute(statement)).all()
        return {text_hash: np.asarray(embedding, np.float32) for text_hash, embedding in rows}

    async def remove_stale(self, conn: Connection | AsyncConnection, targets: Sequence[IndexTarget]) -> None:
        await _REMOVE_STALE.fetch(await driver(conn), *kept(targets))

    async def remove(self, conn: Connection | AsyncConnection, document_id: str) -> None:
        await _REMOVE.fetch(await driver(conn), document_id)

    async def search(self, conn: AsyncConnection, query: VectorQuery, limit: int) -> list[Candidate]:
        statements = _statements(query.model, query.embedding.size)
        parameters = {
            "embedding": query.embedding.tolist(),
            "collection_id": query.collection_id,
            "chat_id": query.chat_id,
        }
        small = await self._sizes.small(conn, query.collection_id, query.model)
        nearest, reach = statements.nearest_exact if small else statements.nearest, limit + SURPLUS
        found, seen = await candidates(conn, nearest, {**parameters, "reach": reach})
        if len(found) < limit and (seen == reach or not small):
            # Many stale rows, or a scan of the index that gave up.
            found, _ = await candidates(conn, statements.nearest_exact, {**parameters, "reach": None})
        return found[:limit]

    async def scores(self, conn: AsyncConnection, query: VectorQuery, chunk_ids: Sequence[str]) -> dict[str, float]:
        statement = _statements(query.model, query.embedding.size).scores
        parameters = {
            "embedding": query.embedding.tolist(),
            "chunk_ids": list(chunk_ids),
            "chat_id": query.chat_id,
        }
        found, _ = await candidates(conn, statement, parameters)
        return {candidate.chunk_id: candidate.score for candidate in found}
