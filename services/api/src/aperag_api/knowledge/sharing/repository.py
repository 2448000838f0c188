"""SQL of sharing."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_PUBLISH = text("INSERT INTO collection_sharing (collection_id) VALUES (:id) ON CONFLICT DO NOTHING")
_TAKE_BACK = text("DELETE FROM collection_sharing WHERE collection_id = :id")


async def publish(conn: AsyncConnection, collection_id: str) -> None:
    """What is published already keeps its date."""
    await conn.execute(_PUBLISH, {"id": collection_id})


async def take_back(conn: AsyncConnection, collection_id: str) -> None:
    """Its subscriptions go with it."""
    await conn.execute(_TAKE_BACK, {"id": collection_id})
