"""What callers are told of a database that does not take them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from aperag_common.db.session import make_engine
from aperag_common.settings import PostgresSettings
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_standalone.postgres import PostgresServer


async def test_a_server_that_takes_no_connection_now_is_a_connection_error(
    postgres: PostgresServer, database: str
) -> None:
    """As while it starts again after a crash: every place that outlives PostgreSQL catches ``OSError``."""
    postgres.execute(f'ALTER DATABASE "{make_url(database).database}" CONNECTION LIMIT 0')
    engine = make_engine(PostgresSettings(url=database), name="tests")
    with pytest.raises(ConnectionError, match="too many connections"):
        async with engine.connect() as conn:
            await conn.execute(text("SELECT 1"))
    await engine.dispose()


async def test_a_connection_that_died_in_the_pool_is_replaced_unnoticed(
    postgres: PostgresServer, engine: AsyncEngine
) -> None:
    """As after a restart of PostgreSQL: nobody's request may be the one that finds out."""
    async with engine.connect() as conn:
        pid = (await conn.execute(text("SELECT pg_backend_pid()"))).scalar_one()
        pooled = (await conn.get_raw_connection()).driver_connection
    assert pooled is not None
    postgres.execute(f"SELECT pg_terminate_backend({pid})")

    async def gone() -> bool:
        return bool(pooled.is_closed())

    await until(gone)
    async with engine.connect() as conn:
        assert (await conn.execute(text("SELECT pg_backend_pid()"))).scalar_one() != pid
