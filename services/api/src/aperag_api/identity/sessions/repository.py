"""SQL of sessions."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class Opened:
    created: datetime
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class Owner:
    """Whose session it is."""

    user_id: str
    username: str
    role: str


# Only for a user who is still active, with the password that was looked at: a delete or a change may have come between.
_INSERT = text(
    """
    INSERT INTO session (id, user_id, ip_address, user_agent, created, expires_at)
    SELECT :id, u.id, :ip_address, :user_agent, clock_timestamp(), clock_timestamp() + CAST(:lifetime AS interval)
    FROM (SELECT id FROM users WHERE id = :user AND is_active AND password_hash IS NOT DISTINCT FROM :password_hash
          FOR SHARE) u
    RETURNING created, expires_at
    """
)
_FIND = text(
    """
    SELECT u.id AS user_id, u.username, u.role FROM session s JOIN users u ON u.id = s.user_id
    WHERE s.id = :id AND s.user_id = :user AND s.revoked_at IS NULL AND s.expires_at > clock_timestamp() AND u.is_active
    """
)
_REVOKE = text(
    "UPDATE session SET revoked_at = clock_timestamp() WHERE id = :id AND user_id = :user AND revoked_at IS NULL"
)
_REVOKE_ALL = text(
    """
    UPDATE session SET revoked_at = clock_timestamp()
    WHERE user_id = :user AND revoked_at IS NULL AND id IS DISTINCT FROM CAST(:except_id AS text)
    """
)


async def insert(
    conn: AsyncConnection,
    *,
    session_id: str,
    user_id: str,
    password_hash: str | None,
    ip_address: str | None,
    user_agent: str | None,
    lifetime: timedelta,
) -> Opened | None:
    """None where the user is no longer active, or their password no longer this one."""
    values = {
        "id": session_id,
        "user": user_id,
        "password_hash": password_hash,
        "ip_address": ip_address,
        "user_agent": user_agent,
        "lifetime": lifetime,
    }
    row = (await conn.execute(_INSERT, values)).one_or_none()
    return None if row is None else Opened(**row._mapping)


async def find(conn: AsyncConnection, session_id: str, user_id: str) -> Owner | None:
    """Only while the session lives."""
    row = (await conn.execute(_FIND, {"id": session_id, "user": user_id})).one_or_none()
    return None if row is None else Owner(**row._mapping)


async def revoke(conn: AsyncConnection, session_id: str, user_id: str) -> None:
    await conn.execute(_REVOKE, {"id": session_id, "user": user_id})


async def revoke_all(conn: AsyncConnection, user_id: str, *, but: str | None = None) -> None:
    await conn.execute(_REVOKE_ALL, {"user": user_id, "except_id": but})
