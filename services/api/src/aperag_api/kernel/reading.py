"""Reads outside any transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common.db.session import autocommit

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


def reading(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    """For statements that only read: each sees what is committed when it runs."""
    return autocommit(engine)
