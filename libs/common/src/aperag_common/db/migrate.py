"""Bring a database to the newest schema and its privileges: ``python -m aperag_common.db.migrate``."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import TYPE_CHECKING

from alembic import command
from alembic.config import Config
from sqlalchemy import pool
from sqlalchemy.ext.asyncio import create_async_engine

from aperag_common.db import grants
from aperag_common.db.session import database_url
from aperag_common.settings import ServiceSettings

if TYPE_CHECKING:
    from sqlalchemy import Connection
    from sqlalchemy.engine import URL

NEWEST = "head"


def config() -> Config:
    """Alembic's configuration; the scripts travel inside this package."""
    settings = Config()
    settings.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return settings


async def upgrade(url: URL | str, revision: str = NEWEST, *, grant: bool = True) -> None:
    """Idempotent; two at once wait for each other (an advisory lock in ``migrations/env.py``).

    The services' roles get what they need of the newest schema in the same transaction; not without ``grant``, where
    the models are ahead of the migrations.
    """
    engine = create_async_engine(url, poolclass=pool.NullPool, hide_parameters=True)

    def run(connection: Connection) -> None:
        settings = config()
        settings.attributes["connection"] = connection
        command.upgrade(settings, revision)
        if grant and revision == NEWEST:
            grants.apply_to_tables(connection)
            grants.apply(connection)

    async with engine.begin() as connection:
        await connection.run_sync(run)
    await engine.dispose()


def main() -> None:
    asyncio.run(upgrade(database_url(ServiceSettings().postgres)))


if __name__ == "__main__":
    main()
