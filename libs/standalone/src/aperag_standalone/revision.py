"""A new migration, from the difference between the models and a database that every earlier one made.

``python -m aperag_standalone.revision "what changes"``; the database is a throw-away one.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

from aperag_common.db import migrate
from aperag_standalone import unprivileged
from aperag_standalone.postgres import PostgresServer

if TYPE_CHECKING:
    from sqlalchemy import Connection


async def write_revision(url: str, message: str) -> None:
    """Brings the database to the newest schema first."""
    await migrate.upgrade(url, grant=False)
    engine = create_async_engine(url, poolclass=pool.NullPool)

    def compare(connection: Connection) -> None:
        settings = migrate.config()
        settings.attributes["connection"] = connection
        command.revision(settings, message, autogenerate=True)

    async with engine.begin() as connection:
        await connection.run_sync(compare)
    await engine.dispose()


def main(message: str) -> None:
    with tempfile.TemporaryDirectory() as name:
        directory = Path(name)
        directory.chmod(unprivileged.passable(unprivileged.way()))
        with PostgresServer(directory / "postgres", durable=False, trust=True) as server:
            asyncio.run(write_revision(server.create_database("revision"), message))


if __name__ == "__main__":
    main(sys.argv[1])
