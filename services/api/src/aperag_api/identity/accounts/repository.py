"""SQL of users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page


@dataclass(frozen=True, slots=True)
class UserRow:
    id: str
    username: str
    email: str | None
    email_verified: bool
    role: str
    is_active: bool
    password_hash: str | None
    registration_source: str
    date_joined: datetime


_COLUMNS = """
    id, username, email, email_verified, role, is_active, password_hash, registration_source, created AS date_joined
"""

_FIRST = text("SELECT pg_advisory_xact_lock(hashtextextended('aperag.first_user', 0))")
_ANY = text("SELECT EXISTS (SELECT FROM users)")
_ANY_ADMIN = text("SELECT EXISTS (SELECT FROM users WHERE role = 'admin' AND is_active)")
_INSERT = text(
    f"""
    INSERT INTO users
        (id, username, username_key, email, email_verified, role, is_active, password_hash, registration_source)
    SELECT :id, :username, CAST(:username_key AS text), :email, :email_verified, :role, true, :password_hash, :source
    WHERE NOT EXISTS (
        SELECT FROM users WHERE username_key = CAST(:look AS text) AND username_key <> CAST(:username_key AS text))
    ON CONFLICT DO NOTHING RETURNING {_COLUMNS}
    """
)
_TAKEN = text(
    """
    SELECT EXISTS (SELECT FROM users WHERE username_key = :username_key OR username = :username) AS username,
        EXISTS (SELECT FROM users WHERE email = :email) AS email
    """
)
_BY_KEY = text(f"SELECT {_COLUMNS} FROM users WHERE username_key = :key AND deleted_at IS NULL")
_BY_ID = text(f"SELECT {_COLUMNS} FROM users WHERE id = :id AND deleted_at IS NULL")
_BY_EMAIL = text(f"SELECT {_COLUMNS} FROM users WHERE email = :email AND deleted_at IS NULL")
_LIST = text(
    f"""
    SELECT {_COLUMNS} FROM users WHERE deleted_at IS NULL AND (CAST(:only AS text) IS NULL OR id = :only)
    ORDER BY created, id LIMIT :limit OFFSET :offset
    """
)
_SET_PASSWORD = text(
    """
    UPDATE users SET password_hash = :new, updated = clock_timestamp()
    WHERE id = :id AND is_active AND password_hash IS NOT DISTINCT FROM :old
    """
)

# All administrators are locked, always in one order: two who delete each other at once must not both succeed.
_ADMINS = text("SELECT id FROM users WHERE role = 'admin' AND is_active ORDER BY id FOR UPDATE")
_MARK_DELETED = text(
    """
    UPDATE users SET is_active = false, deleted_at = clock_timestamp(), updated = clock_timestamp()
    WHERE id = :id AND deleted_at IS NULL
    """
)


async def lock_first(conn: AsyncConnection) -> None:
    """Until this transaction ends nobody else makes the first user."""
    await conn.execute(_FIRST)


async def is_first(conn: AsyncConnection) -> bool:
    """Whether there is no user yet; if so, nobody else becomes one before this transaction ends."""
    if (await conn.execute(_ANY)).scalar_one():
        return False
    await lock_first(conn)
    return not (await conn.execute(_ANY)).scalar_one()


async def has_admin(conn: AsyncConnection) -> bool:
    return bool((await conn.execute(_ANY_ADMIN)).scalar_one())


async def insert(
    conn: AsyncConnection,
    *,
    user_id: str,
    username: str,
    username_key: str,
    look: str,
    email: str | None,
    email_verified: bool,
    role: str,
    password_hash: str | None,
    source: str,
) -> UserRow | None:
    """None where the name or the address is another user's; ``look`` is a name that people may read instead of it."""
    values = {
        "id": user_id,
        "username": username,
        "username_key": username_key,
        "look": look,
        "email": email,
        "email_verified": email_verified,
        "role": role,
        "password_hash": password_hash,
        "source": source,
    }
    return _user((await conn.execute(_INSERT, values)).one_or_none())


async def taken(conn: AsyncConnection, *, username: str, username_key: str, email: str | None) -> tuple[bool, bool]:
    """Whether the name, and whether the address, is somebody's."""
    values = {"username": username, "username_key": username_key, "email": email}
    found = (await conn.execute(_TAKEN, values)).one()
    return found.username, found.email


async def by_key(conn: AsyncConnection, username_key: str) -> UserRow | None:
    return _user((await conn.execute(_BY_KEY, {"key": username_key})).one_or_none())


async def by_id(conn: AsyncConnection, user_id: str) -> UserRow | None:
    return _user((await conn.execute(_BY_ID, {"id": user_id})).one_or_none())


async def by_email(conn: AsyncConnection, email: str) -> UserRow | None:
    return _user((await conn.execute(_BY_EMAIL, {"email": email})).one_or_none())


async def list_users(conn: AsyncConnection, *, only: str | None, page: Page) -> Sequence[UserRow]:
    """All, or ``only`` one."""
    rows = await conn.execute(_LIST, {"only": only, **page.bounds})
    return [UserRow(**row._mapping) for row in rows]


async def set_password(conn: AsyncConnection, user_id: str, *, old: str | None, new: str) -> bool:
    """False where the password is no longer ``old``."""
    return bool((await conn.execute(_SET_PASSWORD, {"id": user_id, "old": old, "new": new})).rowcount)


async def lock_admins(conn: AsyncConnection) -> set[str]:
    return set((await conn.execute(_ADMINS)).scalars())


async def mark_deleted(conn: AsyncConnection, user_id: str) -> bool:
    """From the commit on nobody is this user; False where there is no such user."""
    return bool((await conn.execute(_MARK_DELETED, {"id": user_id})).rowcount)


def _user(row: object | None) -> UserRow | None:
    return None if row is None else UserRow(**row._mapping)  # type: ignore[attr-defined]  # SQLAlchemy's Row
