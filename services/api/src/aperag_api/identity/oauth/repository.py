"""SQL of accounts at providers."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

_LOCK = text("SELECT pg_advisory_xact_lock(hashtextextended(:what, 0))")
_FIND = text("SELECT user_id FROM oauth_account WHERE provider = :provider AND subject = :subject")
_INSERT = text(
    """
    INSERT INTO oauth_account (id, user_id, provider, subject, email) VALUES (:id, :user, :provider, :subject, :email)
    """
)


async def lock(conn: AsyncConnection, what: str) -> None:
    """Until the transaction ends nobody else holds ``what``."""
    await conn.execute(_LOCK, {"what": what})


async def user_of(conn: AsyncConnection, provider: str, subject: str) -> str | None:
    found: str | None = (await conn.execute(_FIND, {"provider": provider, "subject": subject})).scalar_one_or_none()
    return found


async def insert(
    conn: AsyncConnection, *, account_id: str, user_id: str, provider: str, subject: str, email: str | None
) -> None:
    values = {"id": account_id, "user": user_id, "provider": provider, "subject": subject, "email": email}
    await conn.execute(_INSERT, values)
