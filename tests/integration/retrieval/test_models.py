"""Vectors of several models side by side: of any length, never compared, each as fast as the planner can make it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from sqlalchemy import text

from aperag_common.db.models.chunk_vector import E5_MODEL, MOST_DIMENSIONS, USE_MODEL
from aperag_retrieval.dense import PgVectorIndex, _statements, tune_connections
from aperag_retrieval.ports import IndexTarget, VectorQuery, VectorRow
from aperag_testing.factories import make_collection, make_upload

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_retrieval.ports import Vector

VECTORS = PgVectorIndex()
HOSTILE = "else'where/%s :model $1 \\' OR true --"


def unit(dimensions: int, seed: int) -> Vector:
    row = np.random.default_rng(seed).standard_normal(dimensions).astype(np.float32)
    return np.asarray(row / np.linalg.norm(row), np.float32)


async def served_document(engine: AsyncEngine) -> IndexTarget:
    """One chunk, and a vector index that serves it."""
    async with engine.begin() as conn:
        collection = await make_collection(conn)
        document = (await make_upload(conn, collection_id=collection)).document_id
        serves = text("INSERT INTO document_index (document_id, kind, served_generation) VALUES (:id, 'vector', 1)")
        await conn.execute(serves, {"id": document})
        await conn.execute(
            text(
                """
                INSERT INTO chunk (id, document_id, collection_id, generation, ordinal, text, text_hash, details)
                VALUES (:document || '-1-0', :document, :collection, 1, 0, 'tea', 'hash', '{}')
                """
            ),
            {"document": document, "collection": collection},
        )
    return IndexTarget(document, collection, 1)


async def write(engine: AsyncEngine, target: IndexTarget, vectors: dict[str, Sequence[Vector]]) -> None:
    async with engine.begin() as conn:
        for model, rows in vectors.items():
            chunk = f"{target.document_id}-1-0"
            await VECTORS.write(conn, model, [VectorRow(target, chunk, "hash", row) for row in rows])


@pytest.mark.parametrize("dimensions", [1, 8, 512, 1024, 3072, MOST_DIMENSIONS])
async def test_a_model_may_have_any_number_of_dimensions(engine: AsyncEngine, dimensions: int) -> None:
    target = await served_document(engine)
    model = "provider-of-a-very-long-name/" + "m" * 371
    row = unit(dimensions, 1)
    await write(engine, target, {model: [row]})
    async with engine.connect() as conn:
        found = await VECTORS.search(conn, VectorQuery(target.collection_id, model, row), 5)
        kept = await VECTORS.reusable(conn, target.document_id, model)
    assert [it.document_id for it in found] == [target.document_id]
    assert found[0].score == pytest.approx(1, abs=2e-3)
    assert kept["hash"] == pytest.approx(row, abs=1e-3)


@pytest.mark.parametrize("other", ["elsewhere/short", HOSTILE])
async def test_vectors_of_two_models_are_never_compared(engine: AsyncEngine, other: str) -> None:
    target = await served_document(engine)
    near, far = unit(512, 1), -unit(512, 1)
    await write(engine, target, {USE_MODEL: [far], other: [near], "elsewhere/longer": [unit(1024, 1)]})
    async with engine.connect() as conn:
        [by_local] = await VECTORS.search(conn, VectorQuery(target.collection_id, USE_MODEL, near), 5)
        [by_other] = await VECTORS.search(conn, VectorQuery(target.collection_id, other, near), 5)
        scores = await VECTORS.scores(
            conn, VectorQuery(target.collection_id, other, near), [f"{target.document_id}-1-0"]
        )
        nothing = await VECTORS.search(conn, VectorQuery(target.collection_id, f"{other}!", near), 5)
    assert [by_local.score, by_other.score] == pytest.approx([-1, 1], abs=2e-3)
    assert list(scores.values()) == [pytest.approx(1, abs=2e-3)]
    assert nothing == []


async def test_rows_of_one_write_that_differ_in_length_are_refused(engine: AsyncEngine) -> None:
    target = await served_document(engine)
    with pytest.raises(ValueError, match="shape"):
        await write(engine, target, {"elsewhere/short": [unit(8, 1), unit(9, 1)]})


async def indexes_used(engine: AsyncEngine, model: str, dimensions: int) -> set[str]:
    """By a search among many others' chunks, where an exact one would have to be sorted for long."""
    values: dict[str, Any] = {
        "embedding": unit(dimensions, 1).tolist(),
        "collection_id": "all",
        "chat_id": None,
        "reach": 10,
    }
    statement = _statements(model, dimensions).nearest.params(**values)
    async with engine.connect() as conn:
        await conn.execute(text("SET LOCAL enable_sort = off"))
        compiled = statement.compile(dialect=engine.dialect, compile_kwargs={"render_postcompile": True})
        driver = (await conn.get_raw_connection()).driver_connection
        assert driver is not None
        ordered = [compiled.params[name] for name in compiled.positiontup]
        plan = await driver.fetchval(f"EXPLAIN (FORMAT JSON) {compiled}", *ordered)
    return {it["Index Name"] for it in _nodes(plan[0]["Plan"]) if "Index Name" in it}


def _nodes(plan: dict[str, Any]) -> list[dict[str, Any]]:
    return [plan, *(node for child in plan.get("Plans", []) for node in _nodes(child))]


async def test_local_models_have_an_index_each_and_others_use_one_as_soon_as_it_is_made(engine: AsyncEngine) -> None:
    tune_connections(engine)
    assert "ix_chunk_vector_hnsw" in await indexes_used(engine, USE_MODEL, 512)
    assert "ix_chunk_vector_hnsw_e5" in await indexes_used(engine, E5_MODEL, 384)
    assert "ix_chunk_vector_hnsw" not in await indexes_used(engine, "elsewhere/other", 512)
    async with engine.begin() as conn:
        await conn.execute(
            text(
                """
                CREATE INDEX ix_chunk_vector_hnsw_elsewhere ON chunk_vector
                USING hnsw ((embedding::halfvec(1024)) halfvec_cosine_ops) WHERE model = 'elsewhere/long'
                """
            )
        )
    assert "ix_chunk_vector_hnsw_elsewhere" in await indexes_used(engine, "elsewhere/long", 1024)
