"""The schema with models of a collection's choice, reached from the one before it with rows in it."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from sqlalchemy import text

from aperag_common.db import migrate
from aperag_common.db.models.chunk_vector import USE_MODEL
from aperag_common.db.session import make_engine
from aperag_common.settings import PostgresSettings
from aperag_retrieval.dense import PgVectorIndex
from aperag_retrieval.ports import IndexTarget, VectorQuery, VectorRow

BEFORE = "0003"

ROWS = (
    "INSERT INTO users (id, username, role, is_active) VALUES ('user1', 'u', 'rw', true)",
    """
    INSERT INTO collection (id, owner, title, description, type, status, config, analyzer, active_model)
    VALUES ('col1', 'user1', 't', '', 'document', 'ACTIVE', '{}', 'standard/1', 'local/use-multilingual-v3')
    """,
    """
    INSERT INTO document (id, collection_id, owner, name, status, revision, size, sha256, object_path, details)
    VALUES ('doc1', 'col1', 'user1', 'n', 'COMPLETE', 1, 1, '0', 'p', '{}')
    """,
    """
    INSERT INTO document_step (id, document_id, collection_id, owner, kind, status, generation, observed_generation,
        served_generation, dispatch, attempt, failures, due_at, lane, workflow_id, data)
    VALUES ('step1', 'doc1', 'col1', 'user1', 'vector', 'ACTIVE', 1, 1, 1, 1, 1, 0, 'infinity', 'bulk', 'w',
        '{"chunks": 1, "model": "local/use-multilingual-v3"}')
    """,
    """
    INSERT INTO chunk (id, document_id, collection_id, generation, ordinal, text, text_hash, details)
    VALUES ('doc1-1-0', 'doc1', 'col1', 1, 0, 'tea', 'hash', '{}')
    """,
    """
    INSERT INTO chunk_vector (chunk_id, model, generation, document_id, collection_id, text_hash, embedding)
    SELECT 'doc1-1-0', 'local/use-multilingual-v3', 1, 'doc1', 'col1', 'hash',
        array_prepend(1::real, array_fill(0::real, ARRAY[511]))::halfvec(512)
    """,
)


async def test_vectors_of_before_are_found_as_before_and_longer_ones_have_room(empty: str) -> None:
    await migrate.upgrade(empty, BEFORE)
    engine = make_engine(PostgresSettings(url=empty), name="tests")
    async with engine.begin() as conn:
        for statement in ROWS:
            await conn.execute(text(statement))
    await migrate.upgrade(empty)
    first = np.eye(1, 512, dtype=np.float32)[0]
    long = np.eye(1, 1024, dtype=np.float32)[0]
    index = PgVectorIndex()
    async with engine.begin() as conn:
        await index.write(conn, "elsewhere/long", [VectorRow(IndexTarget("doc1", "col1", 1), "doc1-1-0", "hash", long)])
        [found] = await index.search(conn, VectorQuery("col1", USE_MODEL, first), 5)
        [longer] = await index.search(conn, VectorQuery("col1", "elsewhere/long", long), 5)
        storage = await conn.execute(
            text(
                "SELECT attstorage::text FROM pg_attribute WHERE attrelid = 'chunk_vector'::regclass AND attname = 'embedding'"
            )
        )
        plain: Any = storage.scalar_one()
    await engine.dispose()
    assert found.document_id == "doc1"
    assert [found.score, longer.score] == pytest.approx([1, 1])
    assert plain == "p"
