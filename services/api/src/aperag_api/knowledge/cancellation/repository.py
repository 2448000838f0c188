"""SQL of the tasks that a cancel ends."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

# In lock order. Tasks that are asked for after the cancel are not meant by it, so an upload beside it never ends it.
_RUNNING = text(
    """
    SELECT DISTINCT document_id FROM workflow
    WHERE collection_id = :collection AND owner = :owner AND status = 'RUNNING' AND kind <> 'delete'
        AND created <= :asked AND document_id > :after
    ORDER BY document_id LIMIT :limit
    """
)
_NOW = text("SELECT clock_timestamp()")


async def now(conn: AsyncConnection) -> datetime:
    """The clock that rows are dated by."""
    moment: datetime = (await conn.execute(_NOW)).scalar_one()
    return moment


async def running_documents(
    conn: AsyncConnection, collection_id: str, owner: str, *, asked: datetime, after: str, limit: int
) -> list[str]:
    """The next documents behind ``after`` with a task that runs and may be cancelled."""
    values = {"collection": collection_id, "owner": owner, "asked": asked, "after": after, "limit": limit}
    return list((await conn.execute(_RUNNING, values)).scalars())
