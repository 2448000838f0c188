"""The bot that a user has from the start."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common import ids

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TITLE = "Default Agent Bot"

_INSERT = text(
    """
    INSERT INTO bot (id, owner, title, description, type, config, provided)
    SELECT :id, u.id, :title, '', 'agent', '{}', true FROM users u
    WHERE u.id = :owner AND NOT EXISTS (SELECT FROM bot WHERE owner = u.id)
    """
)


async def provide_bot(conn: AsyncConnection, user_id: str) -> None:
    """Unless the user has one."""
    await conn.execute(_INSERT, {"id": ids.new_bot_id(), "owner": user_id, "title": TITLE})
