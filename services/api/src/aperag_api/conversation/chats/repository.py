"""SQL of chats; every statement names the owner."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.conversation.chats.schemas import ChatOut

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.paging import Page


_COLUMNS = "id, title, bot_id, peer_type, peer_id, created, updated, 'ACTIVE' AS status"
"""There are no chats in another status: those that are deleted are gone."""
# The bot is held, so that it is not deleted meanwhile.
_INSERT = text(
    f"""
    INSERT INTO chat (id, owner, bot_id, title, peer_type)
    SELECT :id, owner, id, :title, 'system' FROM (
        SELECT id, owner FROM bot WHERE id = :bot AND owner = :owner AND deleted_at IS NULL FOR KEY SHARE) AS held
    RETURNING {_COLUMNS}
    """
)
_OF = "bot_id = :bot AND owner = :owner"
_COUNT = text(
    """
    SELECT (SELECT count(*) FROM chat WHERE bot_id = bot.id) FROM bot
    WHERE id = :bot AND owner = :owner AND deleted_at IS NULL
    """
)
_LIST = text(f"SELECT {_COLUMNS} FROM chat WHERE {_OF} ORDER BY created DESC, id LIMIT :limit OFFSET :offset")
_FIND = text(f"SELECT {_COLUMNS} FROM chat WHERE id = :id AND {_OF}")
_UPDATE = text(
    f"UPDATE chat SET title = :title, updated = clock_timestamp() WHERE id = :id AND {_OF} RETURNING {_COLUMNS}"
)
_LOCK = text(f"SELECT id FROM chat WHERE id = :id AND {_OF} FOR UPDATE")
_LOCK_ALL = text(f"SELECT id FROM chat WHERE {_OF} ORDER BY id FOR UPDATE")
_DELETE = text("DELETE FROM chat WHERE id = ANY(:ids) AND owner = :owner")
# Turns before their jobs, in the order of their ids: as by whoever ends them.
_LOCK_TURNS = text("SELECT id FROM turn WHERE chat_id = ANY(:ids) AND owner = :owner ORDER BY id FOR UPDATE")
_LOCK_RUNNING = text(
    """
    SELECT t.id FROM turn t JOIN job j ON j.subject_id = t.id AND j.kind = 'turn'
    WHERE t.chat_id = ANY(:ids) AND t.owner = :owner AND j.lease_until > clock_timestamp() AND j.settled_at IS NULL
    ORDER BY j.id FOR UPDATE OF j
    """
)
# The one chat of a bot that is for a program's purpose, and not opened by a person.
_OF_PEER = text(
    f"""
    WITH made AS (
        INSERT INTO chat (id, owner, bot_id, title, peer_type, peer_id)
        SELECT :id, owner, id, :title, 'system', CAST(:peer AS text) FROM (
            SELECT id, owner FROM bot
            WHERE id = CAST(:bot AS text) AND owner = CAST(:owner AS text) AND deleted_at IS NULL FOR KEY SHARE) AS held
        ON CONFLICT (bot_id, peer_id) WHERE peer_id IS NOT NULL DO NOTHING
        RETURNING {_COLUMNS}
    )
    SELECT {_COLUMNS} FROM made UNION ALL
    SELECT {_COLUMNS} FROM chat WHERE bot_id = CAST(:bot AS text) AND owner = CAST(:owner AS text)
        AND peer_id = CAST(:peer AS text) LIMIT 1
    """
)


async def insert(conn: AsyncConnection, owner: str, bot_id: str, chat_id: str, title: str) -> ChatOut | None:
    """None where there is no such bot."""
    values = {"id": chat_id, "owner": owner, "bot": bot_id, "title": title}
    row = (await conn.execute(_INSERT, values)).one_or_none()
    return None if row is None else ChatOut(**row._mapping)


async def count(conn: AsyncConnection, owner: str, bot_id: str) -> int | None:
    """None where there is no such bot."""
    found: int | None = (await conn.execute(_COUNT, {"bot": bot_id, "owner": owner})).scalar_one_or_none()
    return found


async def page(conn: AsyncConnection, owner: str, bot_id: str, *, page: Page) -> list[ChatOut]:
    rows = await conn.execute(_LIST, {"bot": bot_id, "owner": owner, **page.bounds})
    return [ChatOut(**row._mapping) for row in rows]


async def find(conn: AsyncConnection, owner: str, bot_id: str, chat_id: str) -> ChatOut | None:
    row = (await conn.execute(_FIND, {"id": chat_id, "bot": bot_id, "owner": owner})).one_or_none()
    return None if row is None else ChatOut(**row._mapping)


async def rename(conn: AsyncConnection, owner: str, bot_id: str, chat_id: str, title: str) -> ChatOut | None:
    values = {"id": chat_id, "bot": bot_id, "owner": owner, "title": title}
    row = (await conn.execute(_UPDATE, values)).one_or_none()
    return None if row is None else ChatOut(**row._mapping)


async def of_peer(
    conn: AsyncConnection, owner: str, bot_id: str, peer_id: str, chat_id: str, title: str
) -> ChatOut | None:
    """The bot's chat for ``peer_id``, made now where there is none yet; None where there is no such bot."""
    values = {"id": chat_id, "owner": owner, "bot": bot_id, "peer": peer_id, "title": title}
    row = (await conn.execute(_OF_PEER, values)).one_or_none()
    return None if row is None else ChatOut(**row._mapping)


async def lock(conn: AsyncConnection, owner: str, bot_id: str, chat_id: str) -> Sequence[str]:
    """The chat's id, or nothing."""
    return list((await conn.execute(_LOCK, {"id": chat_id, "bot": bot_id, "owner": owner})).scalars())


async def lock_all(conn: AsyncConnection, owner: str, bot_id: str) -> Sequence[str]:
    """All chats of a bot."""
    return list((await conn.execute(_LOCK_ALL, {"bot": bot_id, "owner": owner})).scalars())


async def remove(conn: AsyncConnection, owner: str, chat_ids: Sequence[str]) -> Sequence[str]:
    """With their turns; those that somebody was running, to be told."""
    values = {"ids": list(chat_ids), "owner": owner}
    await conn.execute(_LOCK_TURNS, values)
    running = list((await conn.execute(_LOCK_RUNNING, values)).scalars())
    await conn.execute(_DELETE, values)
    return running
