"""SQL of durable subscriptions."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class SubscriptionRow:
    id: str
    owner: str
    name: str
    types: list[str] | None
    all_owners: bool
    start_sequence: int | None
    start_time: datetime | None
    stream_created: datetime
    created: datetime


@dataclass(frozen=True, slots=True)
class NewSubscription:
    id: str
    owner: str
    name: str
    types: list[str] | None
    all_owners: bool
    start_sequence: int | None
    start_time: datetime | None
    stream_created: datetime


_COLUMNS = "id, owner, name, types, all_owners, start_sequence, start_time, stream_created, created"
# Whoever adds to what a user owns holds the user: two at once cannot both be the last that fits.
_HOLD = text("SELECT id FROM users WHERE id = :owner FOR NO KEY UPDATE")
_COUNT = text("SELECT count(*) FROM event_subscription WHERE owner = :owner")
_INSERT = text(
    f"""
    INSERT INTO event_subscription (id, owner, name, types, all_owners, start_sequence, start_time, stream_created)
    VALUES (:id, :owner, :name, :types, :all_owners, :start_sequence, :start_time, :stream_created)
    ON CONFLICT (owner, name) DO NOTHING RETURNING {_COLUMNS}
    """
)
_LIST = text(f"SELECT {_COLUMNS} FROM event_subscription WHERE owner = :owner ORDER BY created, id")
_GET = text(f"SELECT {_COLUMNS} FROM event_subscription WHERE id = :id AND owner = :owner")
_DELETE = text("DELETE FROM event_subscription WHERE id = :id AND owner = :owner")
_ALL = text(f"SELECT {_COLUMNS} FROM event_subscription")


async def count_held(conn: AsyncConnection, owner: str) -> int:
    """It stays as it is until this transaction ends."""
    await conn.execute(_HOLD, {"owner": owner})
    return int((await conn.execute(_COUNT, {"owner": owner})).scalar_one())


async def insert(conn: AsyncConnection, new: NewSubscription) -> SubscriptionRow | None:
    """None where the owner has one of this name."""
    return _row((await conn.execute(_INSERT, asdict(new))).one_or_none())


async def of_owner(conn: AsyncConnection, owner: str) -> list[SubscriptionRow]:
    return [SubscriptionRow(**row._mapping) for row in await conn.execute(_LIST, {"owner": owner})]


async def get(conn: AsyncConnection, subscription_id: str, owner: str) -> SubscriptionRow | None:
    return _row((await conn.execute(_GET, {"id": subscription_id, "owner": owner})).one_or_none())


async def delete(conn: AsyncConnection, subscription_id: str, owner: str) -> bool:
    return bool((await conn.execute(_DELETE, {"id": subscription_id, "owner": owner})).rowcount)


async def every(conn: AsyncConnection) -> list[SubscriptionRow]:
    return [SubscriptionRow(**row._mapping) for row in await conn.execute(_ALL)]


def _row(row: object | None) -> SubscriptionRow | None:
    return None if row is None else SubscriptionRow(**row._mapping)  # type: ignore[attr-defined]  # SQLAlchemy's Row
