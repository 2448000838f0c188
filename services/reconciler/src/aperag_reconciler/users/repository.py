"""SQL of a user's purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

# Locked as they are read: one that its owner deletes at this moment is passed over, and gone at the next look.
_LIVING = text(
    """
    SELECT id FROM collection WHERE owner = :user AND status <> 'DELETED'
    ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
    """
)


def _owned(table: str, owns: str) -> TextClause:
    return text(
        f"DELETE FROM {table} WHERE ctid = ANY(ARRAY(SELECT ctid FROM {table} WHERE {owns} LIMIT :limit FOR UPDATE))"
    )


OWNED = {
    "turn": _owned("turn", "owner = :user"),
    "llm_provider": _owned("llm_provider", "user_id = :user"),
    "search_history": _owned("search_history", "owner = :user"),
    "evaluation": _owned("evaluation", "owner = :user"),
    "idempotency_record": _owned("idempotency_record", "user_id = :user"),
    "session": _owned("session", "user_id = :user"),
    "dead_letter": _owned("dead_letter", "owner = :user"),
    "workflow": _owned("workflow", "owner = :user"),
    "outbox": _owned("outbox", "split_part(subject, '.', 3) = :user"),
}
"""Rows that may be many, and those that no foreign key removes with the user's own row; the audit log stays."""

LATE = 10_000
_LOCK_USER = text("SELECT id FROM users WHERE id = :user FOR UPDATE")
_COLLECTIONS = text("SELECT EXISTS (SELECT FROM collection WHERE owner = :user)")
_REMOVE_USER = text("DELETE FROM users WHERE id = :user")


async def living_collections(conn: AsyncConnection, user_id: str, *, limit: int) -> Sequence[str]:
    return list((await conn.execute(_LIVING, {"user": user_id, "limit": limit})).scalars())


async def has_collections(conn: AsyncConnection, user_id: str) -> bool:
    """Deleted ones count until their own purges are through."""
    return bool((await conn.execute(_COLLECTIONS, {"user": user_id})).scalar_one())


async def remove_owned(conn: AsyncConnection, table: str, user_id: str, *, limit: int) -> int:
    """``table`` is one of ``OWNED``; how many rows were there to be removed."""
    return (await conn.execute(OWNED[table], {"user": user_id, "limit": limit})).rowcount


async def remove_user(conn: AsyncConnection, user_id: str) -> bool:
    """Not while a collection is left. Keys, bots, quotas and the like go with the user's row.

    The row is locked first: a request that came before the delete may still be adding a collection, and others may have
    left a few rows since they were removed.
    """
    await conn.execute(_LOCK_USER, {"user": user_id})
    if await has_collections(conn, user_id):
        return False
    for table in OWNED:
        await remove_owned(conn, table, user_id, limit=LATE)
    await conn.execute(_REMOVE_USER, {"user": user_id})
    return True
