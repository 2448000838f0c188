"""How far a collection's documents are, read from the table that both sides write."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.session import autocommit
from bench.errors import BenchError

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

LOOK_SECONDS = 0.05
SILENCE_SECONDS = 180.0

_COMPLETE = text(
    "SELECT count(*) FILTER (WHERE status = 'COMPLETE'), count(*) FILTER (WHERE status IN ('COMPLETE', 'FAILED'))"
    " FROM document WHERE collection_id = :collection"
)


async def complete(engine: AsyncEngine, collection: str) -> tuple[int, int]:
    """Documents that are indexed, and those that have ended, well or not."""
    async with autocommit(engine) as conn:
        indexed, ended = (await conn.execute(_COMPLETE, {"collection": collection})).one()
    return indexed, ended


async def ended(engine: AsyncEngine, collection: str, wanted: int, *, within: float = SILENCE_SECONDS) -> bool:
    """Whether as many have ended before ``within`` seconds passed without one more that did."""
    last, since = -1, time.monotonic()
    while last < wanted:
        _, now = await complete(engine, collection)
        if now != last:
            last, since = now, time.monotonic()
        elif time.monotonic() - since > within:
            return False
        await asyncio.sleep(LOOK_SECONDS)
    return True


async def all_ended(engine: AsyncEngine, collection: str, wanted: int) -> None:
    """Raises where that does not happen."""
    if not await ended(engine, collection, wanted):
        message = f"not all documents were indexed, and none has been for {SILENCE_SECONDS:.0f} s"
        raise BenchError(message, hint="run the stack by hand (`just up`) and look at its logs")
