"""Where the documents of a user's chats are kept: in one collection, that no list shows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.knowledge.collections import repository as collections
from aperag_api.knowledge.collections.schemas import CollectionConfig
from aperag_common import ids
from aperag_retrieval.analysis import DEFAULT_ANALYZER

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

TITLE = "Chat Documents"
CHAT = "CHAT"

_HOME = text(
    """
    SELECT id FROM collection WHERE owner = :owner AND type = 'CHAT' AND status <> 'DELETED' ORDER BY created, id LIMIT 1
    """
)
_LOCK_OWNER = text("SELECT id FROM users WHERE id = :owner FOR NO KEY UPDATE")


async def find_home(conn: AsyncConnection, owner: str) -> str | None:
    """The collection's id."""
    found: str | None = (await conn.execute(_HOME, {"owner": owner})).scalar_one_or_none()
    return found


async def provide_home(conn: AsyncConnection, owner: str, *, model: str) -> str:
    """As ``find_home``, made now where there is none; the owner is locked, so that nobody else makes another."""
    await conn.execute(_LOCK_OWNER, {"owner": owner})
    if (home := await find_home(conn, owner)) is not None:
        return home
    made = await collections.insert(
        conn,
        collection_id=ids.new_collection_id(),
        owner=owner,
        title=TITLE,
        description="",
        type=CHAT,
        config=CollectionConfig().model_dump(mode="json"),
        analyzer=DEFAULT_ANALYZER,
        active_model=model,
    )
    return made.id
