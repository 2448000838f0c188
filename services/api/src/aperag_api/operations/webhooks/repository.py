"""SQL of webhook endpoints; every statement names the owner."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.db.models.webhook import DisabledReason


@dataclass(frozen=True, slots=True)
class WebhookRow:
    """``secret`` is as it is stored: encrypted."""

    id: str
    url: str
    description: str | None
    types: list[str]
    collection_ids: list[str] | None
    secret: str
    disabled_at: datetime | None
    disabled_reason: str | None
    failing_since: datetime | None
    previous_until: datetime | None
    created: datetime
    updated: datetime


_COLUMNS = """id, url, description, types, collection_ids, secret, disabled_at, disabled_reason, failing_since,
    CASE WHEN previous_until > clock_timestamp() THEN previous_until END AS previous_until, created, updated"""
_OWN = "id = :id AND owner = :owner"
_COUNT = text("SELECT count(*) FROM webhook_endpoint WHERE owner = :owner")
_INSERT = text(
    f"""
    INSERT INTO webhook_endpoint (id, owner, url, description, types, collection_ids, secret)
    VALUES (:id, :owner, :url, :description, :types, :collection_ids, :secret) RETURNING {_COLUMNS}
    """
)
_LIST = text(f"SELECT {_COLUMNS} FROM webhook_endpoint WHERE owner = :owner ORDER BY created, id")
_FIND = text(f"SELECT {_COLUMNS} FROM webhook_endpoint WHERE {_OWN}")
_LOCK = text(f"SELECT {_COLUMNS} FROM webhook_endpoint WHERE {_OWN} FOR UPDATE")
_UPDATE = text(
    f"""
    UPDATE webhook_endpoint SET url = :url, description = :description, types = :types,
        collection_ids = :collection_ids, updated = clock_timestamp()
    WHERE {_OWN} RETURNING {_COLUMNS}
    """
)
_ROTATE = text(
    f"""
    UPDATE webhook_endpoint SET secret = :secret, previous_secret = :previous,
        previous_until = clock_timestamp() + CAST(:overlap AS interval), updated = clock_timestamp()
    WHERE {_OWN} RETURNING {_COLUMNS}
    """
)
_ENABLE = text(
    f"""
    UPDATE webhook_endpoint SET disabled_at = NULL, disabled_reason = NULL, failing_since = NULL,
        updated = clock_timestamp()
    WHERE {_OWN} RETURNING {_COLUMNS}
    """
)
_DISABLE = text(
    f"""
    UPDATE webhook_endpoint SET disabled_at = coalesce(disabled_at, clock_timestamp()),
        disabled_reason = coalesce(disabled_reason, :reason), updated = clock_timestamp()
    WHERE {_OWN} RETURNING {_COLUMNS}
    """
)
# With its deliveries, which are locked as by those that send them.
_DELETE = text(f"DELETE FROM webhook_endpoint WHERE {_OWN}")
_LOCK_DELIVERIES = text("SELECT id FROM webhook_delivery WHERE endpoint_id = :id ORDER BY id FOR UPDATE")
_OWNED = text("SELECT id FROM collection WHERE owner = :owner AND status <> 'DELETED' AND id = ANY(:ids)")


async def count(conn: AsyncConnection, owner: str) -> int:
    return int((await conn.execute(_COUNT, {"owner": owner})).scalar_one())


async def insert(conn: AsyncConnection, webhook_id: str, owner: str, secret: str, wanted: dict[str, Any]) -> WebhookRow:
    """``wanted`` holds url, description, types and collection_ids."""
    values = {"id": webhook_id, "owner": owner, "secret": secret, **wanted}
    return WebhookRow(**(await conn.execute(_INSERT, values)).one()._mapping)


async def list_own(conn: AsyncConnection, owner: str) -> list[WebhookRow]:
    return [WebhookRow(**row._mapping) for row in await conn.execute(_LIST, {"owner": owner})]


async def find(conn: AsyncConnection, owner: str, webhook_id: str, *, lock: bool = False) -> WebhookRow | None:
    row = (await conn.execute(_LOCK if lock else _FIND, {"id": webhook_id, "owner": owner})).one_or_none()
    return None if row is None else WebhookRow(**row._mapping)


async def update(conn: AsyncConnection, owner: str, webhook_id: str, wanted: dict[str, Any]) -> WebhookRow | None:
    """As ``insert``."""
    row = (await conn.execute(_UPDATE, {"id": webhook_id, "owner": owner, **wanted})).one_or_none()
    return None if row is None else WebhookRow(**row._mapping)


async def rotate(
    conn: AsyncConnection, owner: str, webhook_id: str, *, secret: str, previous: str | None, overlap: timedelta
) -> WebhookRow:
    """Of one that is locked; both secrets are encrypted, each for its column."""
    values = {"id": webhook_id, "owner": owner, "secret": secret, "previous": previous, "overlap": overlap}
    return WebhookRow(**(await conn.execute(_ROTATE, values)).one()._mapping)


async def enable(conn: AsyncConnection, owner: str, webhook_id: str) -> WebhookRow | None:
    row = (await conn.execute(_ENABLE, {"id": webhook_id, "owner": owner})).one_or_none()
    return None if row is None else WebhookRow(**row._mapping)


async def disable(conn: AsyncConnection, owner: str, webhook_id: str, reason: DisabledReason) -> WebhookRow | None:
    """One that is disabled already keeps its reason."""
    row = (await conn.execute(_DISABLE, {"id": webhook_id, "owner": owner, "reason": reason})).one_or_none()
    return None if row is None else WebhookRow(**row._mapping)


async def delete(conn: AsyncConnection, owner: str, webhook_id: str) -> bool:
    if await find(conn, owner, webhook_id, lock=True) is None:
        return False
    values = {"id": webhook_id, "owner": owner}
    await conn.execute(_LOCK_DELIVERIES, values)
    await conn.execute(_DELETE, values)
    return True


async def owned_collections(conn: AsyncConnection, owner: str, ids: Sequence[str]) -> set[str]:
    return set((await conn.execute(_OWNED, {"owner": owner, "ids": list(ids)})).scalars())
