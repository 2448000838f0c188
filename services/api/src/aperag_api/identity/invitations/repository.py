"""SQL of invitations."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page


@dataclass(frozen=True, slots=True)
class InvitationRow:
    """``token`` is as it is stored: encrypted."""

    id: str
    email: str
    username: str | None
    token: str
    role: str
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    is_valid: bool


_VALID = """used_at IS NULL AND expires_at > clock_timestamp()
    AND EXISTS (SELECT FROM users inviter WHERE inviter.id = created_by AND inviter.is_active)"""
_COLUMNS = f"""
    id, email, username, token, role, created_by, created AS created_at, expires_at, used_at, {_VALID} AS is_valid
"""
_INSERT = text(
    f"""
    INSERT INTO invitation (id, email, username, token, token_hash, role, created_by, expires_at)
    VALUES (:id, :email, :username, :token, :token_hash, :role, :created_by,
        clock_timestamp() + CAST(:lifetime AS interval))
    RETURNING {_COLUMNS}
    """
)
_LIST = text(
    f"""
    SELECT {_COLUMNS} FROM invitation WHERE CAST(:maker AS text) IS NULL OR created_by = :maker
    ORDER BY created DESC, id LIMIT :limit OFFSET :offset
    """
)
_FIND = text(f"SELECT {_COLUMNS} FROM invitation WHERE token_hash = :token_hash AND {_VALID} FOR UPDATE")
_USE = text("UPDATE invitation SET used_at = clock_timestamp() WHERE id = :id")
_OPEN_FOR = text(
    f"""
    SELECT {_COLUMNS} FROM invitation WHERE email = :email AND {_VALID} ORDER BY created DESC, id LIMIT 1 FOR UPDATE
    """
)


async def insert(
    conn: AsyncConnection,
    *,
    invitation_id: str,
    email: str,
    username: str | None,
    token: str,
    token_hash: str,
    role: str,
    created_by: str,
    lifetime: timedelta,
) -> InvitationRow:
    values = {
        "id": invitation_id,
        "email": email,
        "username": username,
        "token": token,
        "token_hash": token_hash,
        "role": role,
        "created_by": created_by,
        "lifetime": lifetime,
    }
    return InvitationRow(**(await conn.execute(_INSERT, values)).one()._mapping)


async def list_invitations(conn: AsyncConnection, *, maker: str | None, page: Page) -> Sequence[InvitationRow]:
    """The newest first; all, or those of one ``maker``."""
    rows = await conn.execute(_LIST, {"maker": maker, **page.bounds})
    return [InvitationRow(**row._mapping) for row in rows]


async def find_valid(conn: AsyncConnection, token_hash: str) -> InvitationRow | None:
    """Held until the transaction ends: an invitation is used once."""
    row = (await conn.execute(_FIND, {"token_hash": token_hash})).one_or_none()
    return None if row is None else InvitationRow(**row._mapping)


async def valid_for(conn: AsyncConnection, email: str) -> InvitationRow | None:
    """The newest one for this address; held until the transaction ends."""
    row = (await conn.execute(_OPEN_FOR, {"email": email})).one_or_none()
    return None if row is None else InvitationRow(**row._mapping)


async def use(conn: AsyncConnection, invitation_id: str) -> None:
    await conn.execute(_USE, {"id": invitation_id})
