"""SQL of the garbage collection."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

_EXPIRE = text(
    """
    UPDATE document SET status = 'EXPIRED', revision = revision + 1, updated = clock_timestamp()
    WHERE status = 'UPLOADED' AND deleted_at IS NULL AND created < clock_timestamp() - CAST(:age AS interval)
    RETURNING id
    """
)

# A tombstone whose removal steps ended FAILED is cleared here once more: the row's cascade takes what they left.
# While one is open the row stays, however long: its task has to end.
_OPEN_STEP = f"EXISTS (SELECT FROM document_step s WHERE s.document_id = document.id AND s.status IN {OPEN_SQL})"
_TOMBSTONES = text(
    f"""
    SELECT id, collection_id, owner FROM document
    WHERE ((deleted_at < clock_timestamp() - CAST(:age AS interval))
        OR (status = 'EXPIRED' AND updated < clock_timestamp() - CAST(:age AS interval))) AND NOT {_OPEN_STEP}
    ORDER BY id LIMIT :limit
    """
)

_REMOVE = text(
    f"""
    DELETE FROM document WHERE id = ANY(:ids) AND (deleted_at IS NOT NULL OR status = 'EXPIRED') AND NOT {_OPEN_STEP}
    """
)

_LIVING = text("SELECT id FROM document WHERE id = ANY(:ids)")

_OUTBOX = text("DELETE FROM outbox WHERE created < clock_timestamp() - CAST(:age AS interval)")
_WORKFLOWS = text("DELETE FROM workflow WHERE finished < clock_timestamp() - CAST(:age AS interval)")


async def expire_uploads(conn: AsyncConnection, age: timedelta) -> int:
    return len((await conn.execute(_EXPIRE, {"age": age})).all())


async def tombstones(conn: AsyncConnection, age: timedelta, *, limit: int) -> list[tuple[str, str, str]]:
    """(document, collection, owner) of rows that nobody reads any more."""
    rows = await conn.execute(_TOMBSTONES, {"age": age, "limit": limit})
    return [(row.id, row.collection_id, row.owner) for row in rows]


async def remove_documents(conn: AsyncConnection, ids: Sequence[str]) -> None:
    await conn.execute(_REMOVE, {"ids": list(ids)})


async def living(conn: AsyncConnection, ids: Sequence[str]) -> set[str]:
    return {row.id for row in await conn.execute(_LIVING, {"ids": list(ids)})}


async def forget(conn: AsyncConnection, *, outbox: timedelta, workflow: timedelta) -> None:
    await conn.execute(_OUTBOX, {"age": outbox})
    await conn.execute(_WORKFLOWS, {"age": workflow})
