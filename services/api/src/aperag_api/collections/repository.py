"""SQL of collections; every statement names the owner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


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
    created: datetime
    updated: datetime


@dataclass(frozen=True, slots=True)
class ListedCollection:
    id: str
    title: str
    description: str
    type: str
    status: str
    created: datetime
    updated: datetime
    owner_user_id: str
    owner_username: str


_COLUMNS = "id, owner, title, description, type, status, config, analyzer, active_model, created, updated"

_INSERT = text(
    f"""
    INSERT INTO collection (id, owner, title, description, type, status, config, analyzer, active_model)
    VALUES (:id, :owner, :title, :description, :type, 'ACTIVE', CAST(:config AS jsonb), :analyzer, :active_model)
    RETURNING {_COLUMNS}
    """
)
_GET = text(f"SELECT {_COLUMNS} FROM collection WHERE id = :id AND owner = :owner")
_UPDATE = text(
    f"""
    UPDATE collection SET title = :title, description = :description, config = CAST(:config AS jsonb), updated = now()
    WHERE id = :id AND owner = :owner AND status <> 'DELETED' RETURNING {_COLUMNS}
    """
)
_LIST = text(
    """
    SELECT c.id, c.title, c.description, c.type, c.status, c.created, c.updated,
           c.owner AS owner_user_id, u.username AS owner_username
    FROM collection c JOIN users u ON u.id = c.owner
    WHERE c.owner = :owner AND c.status <> 'DELETED'
    ORDER BY c.updated DESC, c.id LIMIT :limit OFFSET :offset
    """
)
_COUNT = text("SELECT count(*) FROM collection WHERE owner = :owner AND status <> 'DELETED'")


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


async def list_own(conn: AsyncConnection, owner: str, *, limit: int, offset: int) -> list[ListedCollection]:
    rows = await conn.execute(_LIST, {"owner": owner, "limit": limit, "offset": offset})
    return [ListedCollection(**row._mapping) for row in rows]


async def count_own(conn: AsyncConnection, owner: str) -> int:
    return int((await conn.execute(_COUNT, {"owner": owner})).scalar_one())
