"""SQL of sharing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_PUBLISH = text("INSERT INTO collection_sharing (collection_id) VALUES (:id) ON CONFLICT DO NOTHING")
_TAKE_BACK = text("DELETE FROM collection_sharing WHERE collection_id = :id")


async def publish(conn: AsyncConnection, collection_id: str) -> bool:
    """What is published already keeps its date; False where it was."""
    return bool((await conn.execute(_PUBLISH, {"id": collection_id})).rowcount)


async def take_back(conn: AsyncConnection, collection_id: str) -> bool:
    """Its subscriptions go with it; False where it was not published."""
    return bool((await conn.execute(_TAKE_BACK, {"id": collection_id})).rowcount)
