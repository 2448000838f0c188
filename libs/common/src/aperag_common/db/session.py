"""The engine, made once per process; statements are SQLAlchemy Core on its connections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy.engine import make_url
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

if TYPE_CHECKING:
    from sqlalchemy.engine import URL

    from aperag_common.settings import PostgresSettings


def database_url(settings: PostgresSettings) -> URL:
    url = make_url(settings.url)
    return url if settings.password is None else url.set(password=settings.password.get_secret_value())


def make_engine(settings: PostgresSettings, *, name: str) -> AsyncEngine:
    """``name`` is shown by PostgreSQL as the connection's application name."""
    return create_async_engine(
        database_url(settings),
        pool_size=settings.pool_size,
        max_overflow=settings.max_overflow,
        connect_args={
            "server_settings": {"application_name": name, "jit": "off", "idle_in_transaction_session_timeout": "30s"},
            "timeout": 10,
            "command_timeout": 60,
        },
    )
