"""Reads outside any transaction."""

from __future__ import annotations

import unicodedata
from typing import TYPE_CHECKING

from aperag_common.db.session import autocommit

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


def reading(engine: AsyncEngine) -> AbstractAsyncContextManager[AsyncConnection]:
    """For statements that only read: each sees what is committed when it runs."""
    return autocommit(engine)


def containing(search: str) -> str:
    """The pattern of ``ILIKE`` for what holds these very characters, composed as stored names are."""
    escaped = unicodedata.normalize("NFC", search).replace("\\", "\\\\").replace("%", "\\%").replace("_", "\\_")
    return f"%{escaped}%"
