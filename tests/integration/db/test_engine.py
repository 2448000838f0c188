"""What callers are told of a database that does not take them now."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from aperag_common.db.session import make_engine
from aperag_common.settings import PostgresSettings

if TYPE_CHECKING:
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
