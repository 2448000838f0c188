"""The stack's own database, asked directly for what no route tells."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import asyncpg
from sqlalchemy import text
from sqlalchemy.engine import make_url

from aperag_common.db.session import make_engine
from aperag_common.settings import PostgresSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.stack import Stack


@asynccontextmanager
async def database(stack: Stack) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(PostgresSettings(url=stack.postgres_url), name="bench")
    yield engine
    await engine.dispose()


@asynccontextmanager
async def maintenance(stack: Stack) -> AsyncIterator[asyncpg.Connection]:
    """A connection outside of transactions and without a time limit: to build indexes, vacuum, scan everything."""
    url = make_url(stack.postgres_url).set(drivername="postgresql")
    connection = await asyncpg.connect(url.render_as_string(hide_password=False))
    try:
        yield connection
    finally:
        await connection.close()


async def chunks_of(engine: AsyncEngine, collection: str) -> int:
    async with engine.connect() as conn:
        query = text("SELECT count(*) FROM chunk WHERE collection_id = :id")
        return int((await conn.execute(query, {"id": collection})).scalar_one())


async def owner_and_analyzer(engine: AsyncEngine, collection: str) -> tuple[str, str]:
    async with engine.connect() as conn:
        query = text("SELECT owner, analyzer FROM collection WHERE id = :id")
        row = (await conn.execute(query, {"id": collection})).one()
        return str(row.owner), str(row.analyzer)
