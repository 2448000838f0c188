"""A chat as its owner has it, and the documents in it; every statement names the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

_KNOWN = "SELECT id FROM chat WHERE id = :id AND owner = :owner"
_FIND = text(_KNOWN)
_HOLD = text(f"{_KNOWN} FOR KEY SHARE")
_LIVING = "owner = :owner AND deleted_at IS NULL AND status NOT IN ('UPLOADED', 'EXPIRED')"
_OF_CHAT = text(f"SELECT id, name FROM document WHERE chat_id = :chat AND {_LIVING} ORDER BY id LIMIT :limit")
_NAMED = text(f"SELECT id, name FROM document WHERE chat_id = :chat AND id = ANY(:ids) AND {_LIVING}")
_OF_CHATS = text(
    "SELECT id FROM document WHERE chat_id = ANY(:chats) AND owner = :owner AND deleted_at IS NULL ORDER BY id"
)


async def require_chat(conn: AsyncConnection, owner: str, chat_id: str, *, hold: bool = False) -> None:
    """Raises ``ChatNotFound``; ``hold``: nobody deletes it until this transaction ends."""
    if (await conn.execute(_HOLD if hold else _FIND, {"id": chat_id, "owner": owner})).one_or_none() is None:
        raise errors.ChatNotFound(f"Chat {chat_id} not found")


async def documents(conn: AsyncConnection, owner: str, chat_id: str, *, limit: int) -> dict[str, str]:
    """Names by id of what lives in a chat."""
    rows = await conn.execute(_OF_CHAT, {"owner": owner, "chat": chat_id, "limit": limit})
    return {row.id: row.name for row in rows}


async def named(conn: AsyncConnection, owner: str, chat_id: str, document_ids: Sequence[str]) -> dict[str, str]:
    """Names by id of those that live in the chat."""
    rows = await conn.execute(_NAMED, {"owner": owner, "chat": chat_id, "ids": list(document_ids)})
    return {row.id: row.name for row in rows}


async def ids_of_chats(conn: AsyncConnection, owner: str, chat_ids: Sequence[str]) -> list[str]:
    """Of all their documents, in lock order."""
    return list((await conn.execute(_OF_CHATS, {"owner": owner, "chats": list(chat_ids)})).scalars())
