"""The engine, made once per process; statements are SQLAlchemy Core on its connections."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import asyncpg
from sqlalchemy import event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import DisconnectionError
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.engine import URL
    from sqlalchemy.engine.interfaces import DBAPIConnection, Dialect
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.settings import PostgresSettings

UNAVAILABLE = (asyncpg.PostgresConnectionError, asyncpg.OperatorInterventionError, asyncpg.InsufficientResourcesError)
"""A server that is starting, stopping or full."""


def database_url(settings: PostgresSettings) -> URL:
    url = make_url(settings.url)
    return url if settings.password is None else url.set(password=settings.password.get_secret_value())


def make_engine(settings: PostgresSettings, *, name: str) -> AsyncEngine:
    """``name`` is shown by PostgreSQL as the connection's application name."""
    engine = create_async_engine(
        database_url(settings),
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        hide_parameters=True,  # an error that is logged quotes the statement
        connect_args={
            "server_settings": {"application_name": name, "jit": "off", "idle_in_transaction_session_timeout": "30s"},
            "timeout": 10,
            "command_timeout": 60,
        },
    )
    event.listen(engine.sync_engine, "do_connect", _connect)
    event.listen(engine.sync_engine, "checkout", _require_open)
    return engine


@asynccontextmanager
async def autocommit(engine: AsyncEngine) -> AsyncIterator[AsyncConnection]:
    """For single statements: each is a transaction of its own and costs one round trip, not three."""
    async with engine.connect() as conn:
        # An option of the connection costs a third less than a view of the engine with it.
        yield await conn.execution_options(isolation_level="AUTOCOMMIT")


def _connect(dialect: Dialect, _record: Any, arguments: list[Any], options: dict[str, Any]) -> DBAPIConnection:
    """SQLAlchemy translates the driver's errors of statements but lets those of connecting through as they are."""
    try:
        return dialect.connect(*arguments, **options)
    except UNAVAILABLE as err:
        raise ConnectionError(str(err)) from err


def _require_open(connection: Any, _record: Any, _fairy: Any) -> None:
    """A pooled connection whose server has gone is replaced unnoticed; unlike a ping this asks nobody."""
    if connection.driver_connection.is_closed():
        raise DisconnectionError
