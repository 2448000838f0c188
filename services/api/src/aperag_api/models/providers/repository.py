"""SQL of providers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class ProviderRow:
    """``api_key`` is a token of the vault."""

    name: str
    user_id: str
    label: str
    completion_dialect: str
    embedding_dialect: str
    rerank_dialect: str
    allow_custom_base_url: bool
    base_url: str
    extra: str | None
    api_key: str | None
    created: datetime
    updated: datetime


FIELDS = (
    "label",
    "completion_dialect",
    "embedding_dialect",
    "rerank_dialect",
    "allow_custom_base_url",
    "base_url",
    "extra",
    "api_key",
)
_COLUMNS = "name, user_id, label, " + ", ".join(FIELDS[1:]) + ", created, updated"
_INSERT = text(
    f"""
    INSERT INTO llm_provider (name, user_id, {", ".join(FIELDS)})
    VALUES (:name, :user_id, {", ".join(f":{field}" for field in FIELDS)})
    ON CONFLICT (name) DO NOTHING RETURNING {_COLUMNS}
    """
)
# Who has a key comes first, then by name; the built-in one needs none.
_LIST = text(
    f"""
    SELECT {_COLUMNS} FROM llm_provider WHERE user_id = :user OR (:public AND user_id = 'public')
    ORDER BY api_key IS NULL AND name <> 'local', name
    """
)
_FIND = text(f"SELECT {_COLUMNS} FROM llm_provider WHERE name = :name")
_LOCK = text(f"SELECT {_COLUMNS} FROM llm_provider WHERE name = :name FOR UPDATE")
_UPDATE = text(
    f"""
    UPDATE llm_provider SET {", ".join(f"{field} = :{field}" for field in FIELDS)}, updated = clock_timestamp()
    WHERE name = :name RETURNING {_COLUMNS}
    """
)
_PUBLISH = text(
    f"""
    UPDATE llm_provider SET user_id = 'public', updated = clock_timestamp() WHERE name = :name RETURNING {_COLUMNS}
    """
)
_DELETE = text("DELETE FROM llm_provider WHERE name = :name")
_COUNT = text("SELECT count(*) FROM llm_provider WHERE user_id = :user")
# The owner's row is held, so that two requests at once do not both find room.
_HOLD_OWNER = text("SELECT id FROM users WHERE id = :user FOR NO KEY UPDATE")
_EMBEDDING = text(
    """
    SELECT count(*) FROM collection WHERE status <> 'DELETED' AND (
        starts_with(active_model, CAST(:model AS text)) OR starts_with(coalesce(wanted_model, ''), CAST(:model AS text)))
    """
)


async def insert(conn: AsyncConnection, values: Mapping[str, Any]) -> ProviderRow | None:
    """None where the name is taken."""
    row = (await conn.execute(_INSERT, dict(values))).one_or_none()
    return None if row is None else ProviderRow(**row._mapping)


async def listed(conn: AsyncConnection, user_id: str, *, public: bool) -> Sequence[ProviderRow]:
    """The user's own; with the installation's where ``public``."""
    rows = await conn.execute(_LIST, {"user": user_id, "public": public})
    return [ProviderRow(**row._mapping) for row in rows]


async def find(conn: AsyncConnection, name: str, *, lock: bool = False) -> ProviderRow | None:
    row = (await conn.execute(_LOCK if lock else _FIND, {"name": name})).one_or_none()
    return None if row is None else ProviderRow(**row._mapping)


async def update(conn: AsyncConnection, name: str, values: Mapping[str, Any]) -> ProviderRow:
    return ProviderRow(**(await conn.execute(_UPDATE, {**values, "name": name})).one()._mapping)


async def publish(conn: AsyncConnection, name: str) -> ProviderRow:
    return ProviderRow(**(await conn.execute(_PUBLISH, {"name": name})).one()._mapping)


async def remove(conn: AsyncConnection, name: str) -> None:
    """With its models and whatever default names one of them."""
    await conn.execute(_DELETE, {"name": name})


async def count_of(conn: AsyncConnection, user_id: str) -> int:
    """Held at this until the transaction ends."""
    await conn.execute(_HOLD_OWNER, {"user": user_id})
    return int((await conn.execute(_COUNT, {"user": user_id})).scalar_one())


async def collections_embedded_with(conn: AsyncConnection, model_prefix: str) -> int:
    """Living collections whose documents are found with a model whose id begins so, or soon will be."""
    return int((await conn.execute(_EMBEDDING, {"model": model_prefix})).scalar_one())
