"""SQL of how someone stands to collections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.access.conditions import SUBSCRIBED
from aperag_api.access.decide import Standing

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

COLUMNS = """
    c.id, c.owner, c.title, c.description, c.type, c.status, c.config, c.analyzer, c.active_model,
    c.wanted_model, c.created, c.updated,
    (SELECT published_at FROM collection_sharing WHERE collection_id = c.id) AS published_at
"""
"""Of ``collection c``."""

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
    SELECT c.id, c.title FROM collection c
    WHERE c.id = ANY(:ids) AND c.status <> 'DELETED'
        AND (c.owner = :user OR {SUBSCRIBED.format(collection="c.id", user=":user")})
    """
)
_WRITER = text("SELECT role <> 'ro' AS writes FROM users WHERE id = :id AND is_active AND deleted_at IS NULL")
_DOCUMENT = text(
    "SELECT 1 FROM document WHERE id = :id AND collection_id = :collection AND owner = :owner AND deleted_at IS NULL"
)


@dataclass(frozen=True, slots=True)
class CollectionRow:
    id: str
    owner: str
    title: str
    description: str
    type: str
    status: str
    config: dict[str, Any]
    analyzer: str
    active_model: str
    wanted_model: str | None
    created: datetime
    updated: datetime
    published_at: datetime | None


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


async def readable_titles(conn: AsyncConnection, collection_ids: Sequence[str], user_id: str) -> dict[str, str]:
    """By id, of those that are the user's, or that the user has subscribed to."""
    rows = await conn.execute(_READABLE, {"ids": list(collection_ids), "user": user_id})
    return {row.id: row.title for row in rows}


async def writes(conn: AsyncConnection, user_id: str) -> bool | None:
    """Whether the user's role lets them change anything; None where there is no such user."""
    found: bool | None = (await conn.execute(_WRITER, {"id": user_id})).scalar_one_or_none()
    return found


async def owns_document(conn: AsyncConnection, collection_id: str, document_id: str, user_id: str) -> bool:
    """A deleted one is nobody's."""
    values = {"collection": collection_id, "id": document_id, "owner": user_id}
    return (await conn.execute(_DOCUMENT, values)).one_or_none() is not None
