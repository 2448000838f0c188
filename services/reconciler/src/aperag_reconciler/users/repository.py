"""SQL of a user's purge."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_work.database import Statement

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_work.database import Connection

# Locked as they are read: one that its owner deletes at this moment is passed over, and gone at the next look.
_LIVING = Statement(
    "read living collections",
    """
    SELECT id FROM collection WHERE owner = $1 AND status <> 'DELETED'
    ORDER BY id LIMIT $2::int FOR UPDATE SKIP LOCKED
    """,
)


def _owned(table: str, owns: str, key: str = "id") -> Statement:
    """Locked in the order of ``key``, as by everybody else."""
    chosen = f"SELECT ctid FROM {table} WHERE {owns} ORDER BY {key} LIMIT $2::int FOR UPDATE"
    return Statement(f"purge {table}", f"DELETE FROM {table} WHERE ctid = ANY(ARRAY({chosen})) RETURNING 1")


OWNED = {
    "turn": _owned("turn", "owner = $1"),
    "llm_provider": _owned("llm_provider", "user_id = $1", "name"),
    "search_history": _owned("search_history", "owner = $1"),
    "evaluation": _owned("evaluation", "owner = $1"),
    "idempotency_record": _owned("idempotency_record", "user_id = $1", "key"),
    "session": _owned("session", "user_id = $1"),
    "webhook_delivery": _owned("webhook_delivery", "owner = $1"),
    "dead_letter": _owned("dead_letter", "owner = $1"),
    "ingest_event": _owned("ingest_event", "owner = $1"),
    "workflow": _owned("workflow", "owner = $1"),
    "outbox": _owned("outbox", "split_part(subject, '.', 3) = $1"),
}
"""Rows that may be many, and those that no foreign key removes with the user's own row; the audit log stays."""

LATE = 10_000
_LOCK_USER = Statement("lock a user", "SELECT id FROM users WHERE id = $1 FOR UPDATE")
_COLLECTIONS = Statement("look for collections", "SELECT EXISTS (SELECT FROM collection WHERE owner = $1)")
_REMOVE_USER = Statement("purge a user", "DELETE FROM users WHERE id = $1 RETURNING id")


async def living_collections(conn: Connection, user_id: str, *, limit: int) -> Sequence[str]:
    return [row[0] for row in await _LIVING.fetch(conn, user_id, limit)]


async def has_collections(conn: Connection, user_id: str) -> bool:
    """Deleted ones count until their own purges are through."""
    return bool(await _COLLECTIONS.value(conn, user_id))


async def remove_owned(conn: Connection, table: str, user_id: str, *, limit: int) -> int:
    """``table`` is one of ``OWNED``; how many rows were there to be removed."""
    return await OWNED[table].count(conn, user_id, limit)


async def remove_user(conn: Connection, user_id: str) -> bool:
    """Not while a collection is left. Keys, bots, quotas and the like go with the user's row.

    The row is locked first: a request that came before the delete may still be adding a collection, and others may have
    left a few rows since they were removed.
    """
    await _LOCK_USER.fetch(conn, user_id)
    if await has_collections(conn, user_id):
        return False
    for table in OWNED:
        await remove_owned(conn, table, user_id, limit=LATE)
    await _REMOVE_USER.fetch(conn, user_id)
    return True
