"""SQL of kept answers; the database's clock says who may go on."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

# A lock that ends later than any can was set before the database's clock was set back.
_CLAIM = text(
    """
    INSERT INTO idempotency_record AS r (user_id, key, fingerprint, locked_until, created)
    VALUES (:user_id, :key, :fingerprint, clock_timestamp() + CAST(:lock AS interval), clock_timestamp())
    ON CONFLICT (user_id, key) DO UPDATE SET fingerprint = excluded.fingerprint,
        locked_until = excluded.locked_until, created = excluded.created,
        status_code = NULL, headers = NULL, body = NULL
    WHERE r.created < clock_timestamp() - CAST(:kept AS interval)
        OR (r.status_code IS NULL AND (r.locked_until <= clock_timestamp()
            OR r.locked_until > clock_timestamp() + CAST(:lock AS interval)))
    RETURNING created
    """
)
_FIND = text(
    """
    SELECT fingerprint, status_code, headers, body,
        extract(epoch FROM locked_until - clock_timestamp())::float AS wait
    FROM idempotency_record WHERE user_id = :user_id AND key = :key
    """
)
# ``created`` names the claim: whoever was taken over no longer finds the row.
_MINE = "user_id = :user_id AND key = :key AND created = :created AND status_code IS NULL"
_RENEW = text(f"UPDATE idempotency_record SET locked_until = clock_timestamp() + CAST(:lock AS interval) WHERE {_MINE}")
_KEEP = text(
    f"""
    UPDATE idempotency_record SET fingerprint = :fingerprint, locked_until = NULL, status_code = :status_code,
        headers = CAST(:headers AS jsonb), body = :body
    WHERE {_MINE}
    """
)
_RELEASE = text(f"DELETE FROM idempotency_record WHERE {_MINE}")


@dataclass(frozen=True, slots=True)
class Claim:
    """The right to do what a request asks for."""

    user_id: str
    key: str
    created: datetime


@dataclass(frozen=True, slots=True)
class Kept:
    """An answer as it was sent."""

    status: int
    headers: dict[str, str]
    body: bytes


@dataclass(frozen=True, slots=True)
class Earlier:
    """A request that came first; without ``answer`` it still runs, for at least ``wait`` seconds unless it ends."""

    fingerprint: str
    answer: Kept | None
    wait: float


async def claim(
    conn: AsyncConnection, user_id: str, key: str, fingerprint: str, *, lock: timedelta, kept: timedelta
) -> Claim | None:
    """None where somebody else has it, or had it and was answered."""
    values = {"user_id": user_id, "key": key, "fingerprint": fingerprint, "lock": lock, "kept": kept}
    created = (await conn.execute(_CLAIM, values)).scalar_one_or_none()
    return None if created is None else Claim(user_id, key, created)


async def find(conn: AsyncConnection, user_id: str, key: str) -> Earlier | None:
    row = (await conn.execute(_FIND, {"user_id": user_id, "key": key})).one_or_none()
    if row is None:
        return None
    answer = None if row.status_code is None else Kept(row.status_code, dict(row.headers or {}), bytes(row.body or b""))
    return Earlier(row.fingerprint, answer, row.wait or 0.0)


async def renew(conn: AsyncConnection, mine: Claim, lock: timedelta) -> None:
    await conn.execute(_RENEW, {**_values(mine), "lock": lock})


async def keep(conn: AsyncConnection, mine: Claim, fingerprint: str, answer: Kept) -> None:
    kept = {"status_code": answer.status, "headers": json.dumps(answer.headers), "body": answer.body}
    await conn.execute(_KEEP, {**_values(mine), **kept, "fingerprint": fingerprint})


async def release(conn: AsyncConnection, mine: Claim) -> None:
    await conn.execute(_RELEASE, _values(mine))


def _values(mine: Claim) -> dict[str, Any]:
    return {"user_id": mine.user_id, "key": mine.key, "created": mine.created}
