"""SQL of the marketplace."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.access.conditions import PUBLISHED, REACHED
from aperag_api.knowledge.marketplace.schemas import SharedCollection

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page


_FROM = f"""
    FROM {PUBLISHED}
    LEFT JOIN collection_subscription b ON b.collection_id = c.id AND b.user_id = CAST(:user AS text)
"""
_SELECT = f"""
    SELECT c.id, c.title, c.description, c.config, c.owner AS owner_user_id, u.username AS owner_username,
        b.id AS subscription_id, b.created AS gmt_subscribed,
        (SELECT count(*) FROM collection_subscription n WHERE n.collection_id = c.id) AS subscription_count
    {_FROM}
"""
_LISTED = f"WHERE {REACHED.format(collection='c.id')} AND (b.id IS NOT NULL OR NOT CAST(:subscribed AS boolean))"
_LIST = text(f"{_SELECT} {_LISTED} ORDER BY s.published_at DESC, c.id LIMIT :limit OFFSET :offset")
_COUNT = text(f"SELECT count(*) {_FROM} {_LISTED}")
_GET = text(f"{_SELECT} WHERE c.id = :id")
# A collection that is just being taken back is waited for, and then it is gone.
_SUBSCRIBE = text(
    f"""
    INSERT INTO collection_subscription (id, collection_id, user_id)
    SELECT :id, s.collection_id, :user FROM {PUBLISHED}
    WHERE s.collection_id = :collection FOR KEY SHARE OF s
    ON CONFLICT DO NOTHING RETURNING id
    """
)
_UNSUBSCRIBE = text("DELETE FROM collection_subscription WHERE collection_id = :collection AND user_id = :user")


async def list_page(
    conn: AsyncConnection, user_id: str | None, *, reach: Sequence[str] | None, subscribed: bool, page: Page
) -> tuple[list[SharedCollection], int]:
    """One page, newest first, and the number of all; only those that the user has ``subscribed`` to, if wanted."""
    values = {"user": user_id, "reach": reach, "subscribed": subscribed}
    rows = await conn.execute(_LIST, {**values, **page.bounds})
    listed = [SharedCollection(**row._mapping) for row in rows]
    return listed, int((await conn.execute(_COUNT, values)).scalar_one())


async def get(conn: AsyncConnection, collection_id: str, user_id: str | None) -> SharedCollection | None:
    row = (await conn.execute(_GET, {"id": collection_id, "user": user_id})).one_or_none()
    return None if row is None else SharedCollection(**row._mapping)


async def subscribe(conn: AsyncConnection, *, subscription_id: str, collection_id: str, user_id: str) -> bool:
    """False where there was a subscription, or is nothing to subscribe to."""
    values = {"id": subscription_id, "collection": collection_id, "user": user_id}
    return (await conn.execute(_SUBSCRIBE, values)).one_or_none() is not None


async def unsubscribe(conn: AsyncConnection, collection_id: str, user_id: str) -> None:
    await conn.execute(_UNSUBSCRIBE, {"collection": collection_id, "user": user_id})
