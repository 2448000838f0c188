"""A process loads the local models that documents are embedded with, before anyone waits for them."""

from __future__ import annotations

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncEngine

from aperag_common.db.models.chunk_vector import E5_MODEL, USE_MODEL
from aperag_retrieval.used import local_models_used
from aperag_testing.factories import make_collection, make_upload


async def test_only_models_of_collections_that_hold_documents_are_loaded(engine: AsyncEngine) -> None:
    assert await local_models_used(engine, E5_MODEL) == [E5_MODEL]
    async with engine.begin() as conn:
        collection = await make_collection(conn)
    assert await local_models_used(engine, E5_MODEL) == [E5_MODEL]
    async with engine.begin() as conn:
        await make_upload(conn, collection_id=collection)
    assert await local_models_used(engine, E5_MODEL) == [USE_MODEL]
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE collection SET wanted_model = :model"), {"model": E5_MODEL})
    assert await local_models_used(engine, USE_MODEL) == [E5_MODEL, USE_MODEL]
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE collection SET active_model = 'elsewhere/model', wanted_model = NULL"))
    assert await local_models_used(engine, USE_MODEL) == [USE_MODEL]
