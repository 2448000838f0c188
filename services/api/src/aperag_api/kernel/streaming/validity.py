"""A stream that ends soon after the credential it was opened with."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from typing import TYPE_CHECKING

from sqlalchemy.exc import SQLAlchemyError

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Awaitable, Callable
    from datetime import timedelta


async def while_valid(
    frames: AsyncGenerator[bytes, None], valid: Callable[[], Awaitable[bool]], *, every: timedelta
) -> AsyncGenerator[bytes, None]:
    """Asks before it sends a frame, at most once in ``every``; the comments of a silent stream are frames too."""
    clock = asyncio.get_running_loop().time
    asked = clock()
    async with aclosing(frames):
        async for frame in frames:
            if clock() - asked >= every.total_seconds():
                if not await _still(valid):
                    return
                asked = clock()
            yield frame


async def _still(valid: Callable[[], Awaitable[bool]]) -> bool:
    try:
        return await valid()
    except (SQLAlchemyError, ConnectionError):
        return True  # while the database is away nobody can revoke anything either
