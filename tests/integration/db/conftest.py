"""Each service's own role, connected to a database that it was granted its part of."""

from __future__ import annotations

import asyncio
import uuid
from typing import TYPE_CHECKING

import asyncpg
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from aperag_common.db import migrate
from aperag_common.services import Service, role

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from aperag_standalone.postgres import PostgresServer

    Connection = asyncpg.Connection[asyncpg.Record]


@pytest.fixture
def empty(postgres: PostgresServer) -> Iterator[str]:
    """A database without tables."""
    name = f"t{uuid.uuid4().hex}"
    yield postgres.create_database(name)
    postgres.drop_database(name)


@pytest.fixture(scope="module")
def granted(postgres: PostgresServer) -> Iterator[str]:
    """A database that its own migration granted on: privileges of a database do not travel with a copy."""
    name = f"granted{uuid.uuid4().hex}"
    url = postgres.create_database(name)
    asyncio.run(migrate.upgrade(url))
    yield url
    postgres.drop_database(name)


@pytest_asyncio.fixture
async def connections(postgres: PostgresServer, granted: str) -> AsyncIterator[dict[Service, Connection]]:
    made = {service: await connect(postgres, granted, role(service)) for service in Service}
    yield made
    for connection in made.values():
        await connection.close()


async def connect(postgres: PostgresServer, database: str, name: str) -> Connection:
    url = make_url(postgres.url(str(make_url(database).database), role=name)).set(drivername="postgresql")
    return await asyncpg.connect(url.render_as_string(hide_password=False))
