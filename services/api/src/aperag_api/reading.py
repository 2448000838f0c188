"""Reads outside any transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


def reading(engine: AsyncEngine) -> AsyncConnection:
    """For statements that only read: each sees what is committed when it runs, and costs one round trip, not three."""
    return engine.execution_options(isolation_level="AUTOCOMMIT").connect()
