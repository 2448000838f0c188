"""SQL of API keys."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.identity.apikeys.schemas import ApiKeyView

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class KnownKey:
    """``untouched`` says that ``last_used_at`` is due to be written."""

    id: str
    owner: str
    username: str
    role: str
    scope: str
    collection_ids: list[str] | None
    expires_at: datetime | None
    seconds_left: float | None
    untouched: bool


@dataclass(frozen=True, slots=True)
class EndedKey:
    id: str
    owner: str


@dataclass(frozen=True, slots=True)
class KeyGrant:
    """What a key may do, and until when: fixed when it is made. By itself as much as its owner may."""

    scope: str = "all"
    collection_ids: list[str] | None = None
    expires_at: datetime | None = None


_FIND = text(
    """
    SELECT k.id, k.owner, u.username, u.role, k.scope, k.collection_ids, k.expires_at,
           CAST(extract(epoch FROM k.expires_at - clock_timestamp()) AS float) AS seconds_left,
           k.last_used_at IS NULL OR k.last_used_at < now() - CAST(:every AS interval)
               OR k.key_hash <> :current AS untouched
    FROM api_key k JOIN users u ON u.id = k.owner
    WHERE k.key_hash = ANY(:hashes) AND k.deleted_at IS NULL AND u.is_active
        AND (k.expires_at IS NULL OR k.expires_at > clock_timestamp())
    """
)
_TOUCH = text("UPDATE api_key SET last_used_at = clock_timestamp(), key_hash = :hash WHERE id = :id")
_COLUMNS = """id, key_mask AS key, description, scope, collection_ids, expires_at,
    created AS created_at, updated AS updated_at, last_used_at"""
_OWN = "owner = :owner AND deleted_at IS NULL AND NOT is_system"
_LIST = text(f"SELECT {_COLUMNS} FROM api_key WHERE {_OWN} ORDER BY created, id")
_INSERT = text(
    f"""
    INSERT INTO api_key (id, owner, key_hash, key_mask, description, scope, collection_ids, expires_at, is_system)
    VALUES (:id, :owner, :hash, :mask, :description, :scope, :collection_ids, :expires_at, false) RETURNING {_COLUMNS}
    """
)
_UPDATE = text(
    f"UPDATE api_key SET description = :description, updated = now() WHERE id = :id AND {_OWN} RETURNING {_COLUMNS}"
)
# The owner's row is held, so that two requests at once do not both find room.
_HOLD_OWNER = text("SELECT id FROM users WHERE id = :owner FOR NO KEY UPDATE")
_COUNT = text(f"SELECT count(*) FROM api_key WHERE {_OWN}")
_LIES_AHEAD = text("SELECT CAST(:moment AS timestamptz) > clock_timestamp()")
_DELETE = text(
    f"UPDATE api_key SET deleted_at = now(), ended_at = coalesce(ended_at, now()) WHERE id = :id AND {_OWN} RETURNING id"
)
_END_OF_USER = text(
    """
    UPDATE api_key SET ended_at = now() WHERE owner = :owner AND deleted_at IS NULL AND ended_at IS NULL
    RETURNING id, owner
    """
)
_END_EXPIRED = text(
    """
    UPDATE api_key SET ended_at = now() WHERE id IN (
        SELECT id FROM api_key WHERE ended_at IS NULL AND expires_at <= clock_timestamp()
        ORDER BY expires_at LIMIT 1000 FOR UPDATE SKIP LOCKED)
    RETURNING id, owner
    """
)


async def find_by_hash(conn: AsyncConnection, hashes: Sequence[str], touched_every: timedelta) -> KnownKey | None:
    """``hashes`` are a hasher's candidates: the first is the one that a key should stand under."""
    values = {"hashes": list(hashes), "current": hashes[0], "every": touched_every}
    row = (await conn.execute(_FIND, values)).one_or_none()
    return None if row is None else KnownKey(**row._mapping)


async def touch(conn: AsyncConnection, key_id: str, key_hash: str) -> None:
    """``key_hash`` replaces one that was made under an earlier secret."""
    # Losing this in a crash costs nothing, so the request need not wait for the disk.
    await conn.execute(text("SET LOCAL synchronous_commit = off"))
    await conn.execute(_TOUCH, {"id": key_id, "hash": key_hash})


async def lies_ahead(conn: AsyncConnection, moment: datetime) -> bool:
    """By the clock that expires keys."""
    return bool((await conn.execute(_LIES_AHEAD, {"moment": moment})).scalar_one())


async def insert(
    conn: AsyncConnection,
    *,
    key_id: str,
    owner: str,
    key_hash: str,
    key_mask: str,
    description: str | None,
    grant: KeyGrant,
) -> ApiKeyView:
    values = {"id": key_id, "owner": owner, "hash": key_hash, "mask": key_mask, "description": description}
    values |= asdict(grant)
    return ApiKeyView(**(await conn.execute(_INSERT, values)).one()._mapping)


async def count(conn: AsyncConnection, owner: str) -> int:
    """Held at this until the transaction ends."""
    await conn.execute(_HOLD_OWNER, {"owner": owner})
    return int((await conn.execute(_COUNT, {"owner": owner})).scalar_one())


async def list_own(conn: AsyncConnection, owner: str) -> list[ApiKeyView]:
    return [ApiKeyView(**row._mapping) for row in await conn.execute(_LIST, {"owner": owner})]


async def update(conn: AsyncConnection, *, key_id: str, owner: str, description: str | None) -> ApiKeyView | None:
    values = {"id": key_id, "owner": owner, "description": description}
    row = (await conn.execute(_UPDATE, values)).one_or_none()
    return None if row is None else ApiKeyView(**row._mapping)


async def delete(conn: AsyncConnection, *, key_id: str, owner: str) -> bool:
    return (await conn.execute(_DELETE, {"id": key_id, "owner": owner})).one_or_none() is not None


async def end_of_user(conn: AsyncConnection, owner: str) -> list[EndedKey]:
    """Those of the user that had not ended."""
    return [EndedKey(**row._mapping) for row in await conn.execute(_END_OF_USER, {"owner": owner})]


async def end_expired(conn: AsyncConnection) -> list[EndedKey]:
    """Each is answered once, to whoever asks first."""
    return [EndedKey(**row._mapping) for row in await conn.execute(_END_EXPIRED)]
