"""SQL of where the files of chats are kept, and of what a chat has; every statement names the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_HOME = text(
    """
    SELECT id FROM collection WHERE owner = :owner AND type = 'CHAT' AND status <> 'DELETED' ORDER BY created, id LIMIT 1
    """
)
_LOCK_OWNER = text("SELECT id FROM users WHERE id = :owner FOR NO KEY UPDATE")
_LIVING = "owner = :owner AND deleted_at IS NULL AND status NOT IN ('UPLOADED', 'EXPIRED')"
_OF_CHAT = text(f"SELECT id, name FROM document WHERE chat_id = :chat AND {_LIVING} ORDER BY id LIMIT :limit")
_NAMED = text(f"SELECT id, name FROM document WHERE chat_id = :chat AND id = ANY(:ids) AND {_LIVING}")
_OF_CHATS = text(
    "SELECT id FROM document WHERE chat_id = ANY(:chats) AND owner = :owner AND deleted_at IS NULL ORDER BY id"
)


async def home(conn: AsyncConnection, owner: str) -> str | None:
    """The collection that holds the files of all chats of the owner."""
    found: str | None = (await conn.execute(_HOME, {"owner": owner})).scalar_one_or_none()
    return found


async def lock_owner(conn: AsyncConnection, owner: str) -> None:
    """Until this transaction ends nobody else makes a home for the owner's files."""
    await conn.execute(_LOCK_OWNER, {"owner": owner})


async def files(conn: AsyncConnection, owner: str, chat_id: str, *, limit: int) -> dict[str, str]:
    """Names by id of what lives in a chat."""
    rows = await conn.execute(_OF_CHAT, {"owner": owner, "chat": chat_id, "limit": limit})
    return {row.id: row.name for row in rows}


async def named(conn: AsyncConnection, owner: str, chat_id: str, document_ids: Sequence[str]) -> dict[str, str]:
    """Names by id of those that live in the chat."""
    rows = await conn.execute(_NAMED, {"owner": owner, "chat": chat_id, "ids": list(document_ids)})
    return {row.id: row.name for row in rows}


async def ids_of_chats(conn: AsyncConnection, owner: str, chat_ids: Sequence[str]) -> list[str]:
    """Of all their files, in lock order."""
    return list((await conn.execute(_OF_CHATS, {"owner": owner, "chats": list(chat_ids)})).scalars())
