"""SQL of how someone stands to collections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.access.conditions import SUBSCRIBED
from aperag_api.access.decide import Standing
from aperag_api.collections.repository import COLUMNS, CollectionRow

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_STANDING = text(
    f"""
    SELECT {COLUMNS}, c.owner IS NOT DISTINCT FROM CAST(:user AS text) AS is_owner,
        EXISTS (SELECT FROM collection_subscription b WHERE b.collection_id = c.id AND b.user_id = :user) AS subscribed
    FROM collection c JOIN users u ON u.id = c.owner AND u.is_active
    WHERE c.id = :id AND c.status <> 'DELETED'
        AND (c.owner = CAST(:user AS text) OR EXISTS (SELECT FROM collection_sharing s WHERE s.collection_id = c.id))
    """
)
_READABLE = text(
    f"""
    SELECT c.id FROM collection c
    WHERE c.id = ANY(:ids) AND c.status <> 'DELETED'
        AND (c.owner = :user OR {SUBSCRIBED.format(collection="c.id", user=":user")})
    """
)


@dataclass(frozen=True, slots=True)
class Found:
    collection: CollectionRow
    standing: Standing


async def find(conn: AsyncConnection, collection_id: str, user_id: str | None) -> Found | None:
    """A collection that lives and is the user's or published, and how the user (None: a stranger) stands to it."""
    row = (await conn.execute(_STANDING, {"id": collection_id, "user": user_id})).one_or_none()
    if row is None:
        return None
    values = dict(row._mapping)
    owner, subscribed = values.pop("is_owner"), values.pop("subscribed")
    published = values["published_at"] is not None
    return Found(CollectionRow(**values), Standing(user_id is not None, owner, published, subscribed))


async def readable_ids(conn: AsyncConnection, collection_ids: Sequence[str], user_id: str) -> set[str]:
    """Those of ``collection_ids`` that are the user's, or that the user has subscribed to."""
    values = {"ids": list(collection_ids), "user": user_id}
    return set((await conn.execute(_READABLE, values)).scalars())
