"""SQL of collections; every statement names the owner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.access.conditions import REACHED
from aperag_api.access.repository import COLUMNS, CollectionRow
from aperag_api.knowledge.collections.schemas import CollectionView

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page


@dataclass(frozen=True, slots=True)
class EmbeddingOffer:
    """Whether a user may use the provider, and whether it has the model."""

    provider: bool
    model: bool


_INSERT = text(
    f"""
    INSERT INTO collection AS c (id, owner, title, description, type, status, config, analyzer, active_model)
    VALUES (:id, :owner, :title, :description, :type, 'ACTIVE', CAST(:config AS jsonb), :analyzer, :active_model)
    RETURNING {COLUMNS}
    """
)
_GET = text(f"SELECT {COLUMNS} FROM collection c WHERE c.id = :id AND c.owner = :owner")
_LOCK_CONFIG = text("SELECT config FROM collection WHERE id = :id AND owner = :owner FOR NO KEY UPDATE")
_UPDATE = text(
    f"""
    UPDATE collection AS c SET title = :title, description = :description, config = CAST(:config AS jsonb), updated = now()
    WHERE id = :id AND owner = :owner AND status <> 'DELETED' RETURNING {COLUMNS}
    """
)
# A user's files of chats are reached by their chat: nobody chooses the collection that holds them.
# Both ways to a collection have an index of their own, which an OR over the joined tables would not use.
_LISTED = f"""
    FROM collection c JOIN users u ON u.id = c.owner AND u.is_active
    LEFT JOIN collection_sharing s ON s.collection_id = c.id
    LEFT JOIN collection_subscription b ON b.collection_id = c.id AND b.user_id = :user
    WHERE c.id IN (SELECT id FROM collection WHERE owner = :user
                   UNION ALL SELECT collection_id FROM collection_subscription WHERE user_id = :user AND :subscribed)
        AND c.status <> 'DELETED' AND c.type = 'document' AND {REACHED.format(collection="c.id")}
"""
_LIST = text(
    f"""
    SELECT c.id, c.title, c.description, c.type, c.status, c.created, c.updated, s.published_at,
           s.published_at IS NOT NULL AS is_published, c.owner AS owner_user_id, u.username AS owner_username, b.id AS subscription_id, b.created AS subscribed_at
    {_LISTED} ORDER BY c.updated DESC, c.id LIMIT :limit OFFSET :offset
    """
)
_COUNT = text(f"SELECT count(*) {_LISTED}")
_DEFAULT_MODEL = text("SELECT provider_name || '/' || model FROM default_model WHERE scenario = :scenario")
_OFFER = text(
    """
    SELECT count(*) > 0 AS provider, count(m.model) > 0 AS model
    FROM llm_provider p
    LEFT JOIN llm_model m ON m.provider_name = p.name AND m.api = 'embedding' AND m.model = :model
    WHERE p.name = :provider AND p.user_id IN (:owner, 'public')
    """
)


async def insert(
    conn: AsyncConnection,
    *,
    collection_id: str,
    owner: str,
    title: str,
    description: str,
    type: str,  # noqa: A002
    config: dict[str, Any],
    analyzer: str,
    active_model: str,
) -> CollectionRow:
    values = {
        "id": collection_id,
        "owner": owner,
        "title": title,
        "description": description,
        "type": type,
        "config": json.dumps(config),
        "analyzer": analyzer,
        "active_model": active_model,
    }
    return CollectionRow(**(await conn.execute(_INSERT, values)).one()._mapping)


async def get(conn: AsyncConnection, collection_id: str, owner: str) -> CollectionRow | None:
    """The row in whatever status, DELETED included, for as long as it is there."""
    row = (await conn.execute(_GET, {"id": collection_id, "owner": owner})).one_or_none()
    return None if row is None else CollectionRow(**row._mapping)


async def lock_config(conn: AsyncConnection, collection_id: str, owner: str) -> dict[str, Any]:
    """Empty where there is no such collection."""
    found = await conn.execute(_LOCK_CONFIG, {"id": collection_id, "owner": owner})
    return found.scalar_one_or_none() or {}


async def update(
    conn: AsyncConnection, collection_id: str, owner: str, *, title: str, description: str, config: dict[str, Any]
) -> CollectionRow | None:
    values = {
        "id": collection_id,
        "owner": owner,
        "title": title,
        "description": description,
        "config": json.dumps(config),
    }
    row = (await conn.execute(_UPDATE, values)).one_or_none()
    return None if row is None else CollectionRow(**row._mapping)


async def list_page(
    conn: AsyncConnection, user_id: str, *, reach: Sequence[str] | None, subscribed: bool, page: Page
) -> tuple[list[CollectionView], int]:
    """One page of the user's own collections and, if wanted, the ``subscribed`` ones; and the number of all."""
    values = {"user": user_id, "reach": reach, "subscribed": subscribed}
    rows = await conn.execute(_LIST, {**values, **page.bounds})
    listed = [CollectionView(**row._mapping) for row in rows]
    return listed, int((await conn.execute(_COUNT, values)).scalar_one())


async def default_model(conn: AsyncConnection, scenario: str) -> str | None:
    """The id of what the installation uses where nobody has chosen."""
    found: str | None = (await conn.execute(_DEFAULT_MODEL, {"scenario": scenario})).scalar_one_or_none()
    return found


async def embedding_offer(conn: AsyncConnection, provider: str, model: str, owner: str) -> EmbeddingOffer:
    row = (await conn.execute(_OFFER, {"provider": provider, "model": model, "owner": owner})).one()
    return EmbeddingOffer(**row._mapping)
