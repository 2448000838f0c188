"""SQL of the garbage collection."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy import TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_reconciler.settings import RetentionSettings

# One that is being confirmed or deleted just now is held by that request, and left to it.
_EXPIRE = text(
    """
    WITH old AS (
        SELECT id FROM document
        WHERE status = 'UPLOADED' AND deleted_at IS NULL AND created < clock_timestamp() - CAST(:age AS interval)
        ORDER BY created LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE document SET status = 'EXPIRED', revision = revision + 1, updated = clock_timestamp()
    FROM old WHERE document.id = old.id
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
        AND id > :after
    ORDER BY id LIMIT :limit
    """
)

_REMOVE = text(
    f"""
    DELETE FROM document WHERE id = ANY(:ids) AND (deleted_at IS NOT NULL OR status = 'EXPIRED') AND NOT {_OPEN_STEP}
    """
)

_LIVING = text("SELECT id FROM document WHERE id = ANY(:ids)")


class Forgettable(StrEnum):
    """Rows that are kept for a time only."""

    OUTBOX = "outbox"
    AUDIT_LOG = "audit_log"
    WORKFLOW = "workflow"
    DEAD_LETTER = "dead_letter"
    TIMER = "timer"
    SESSION = "session"
    LOGIN_THROTTLE = "login_throttle"
    INVITATION = "invitation"
    IDEMPOTENCY_RECORD = "idempotency_record"
    SERVICE_INSTANCE = "service_instance"


def _older(table: str, key: str, since: str) -> TextClause:
    # now(), unlike clock_timestamp(), lets PostgreSQL use the index on ``since``.
    return text(
        f"""
        DELETE FROM {table} WHERE ({key}) IN (
            SELECT {key} FROM {table} WHERE {since} < now() - CAST(:age AS interval)
            LIMIT :limit FOR UPDATE SKIP LOCKED)
        """
    )


# A timer is gone when nobody has run it for long, by its own measure too.
_FORGET = {
    Forgettable.OUTBOX: _older("outbox", "id", "created"),
    Forgettable.AUDIT_LOG: _older("audit_log", "id", "created"),
    Forgettable.WORKFLOW: _older("workflow", "id", "finished"),
    Forgettable.DEAD_LETTER: _older("dead_letter", "id", "redriven_at"),
    Forgettable.TIMER: _older(
        "timer", "name", "greatest(started_at, finished_at) + 3 * period_seconds * interval '1 s'"
    ),
    Forgettable.SESSION: _older("session", "id", "expires_at"),
    Forgettable.LOGIN_THROTTLE: _older("login_throttle", "id", "greatest(failed_at, blocked_until)"),
    Forgettable.INVITATION: _older("invitation", "id", "expires_at"),
    Forgettable.IDEMPOTENCY_RECORD: _older("idempotency_record", "user_id, key", "created"),
    Forgettable.SERVICE_INSTANCE: _older("service_instance", "service, instance", "seen"),
}


def forgettable(retention: RetentionSettings) -> dict[Forgettable, timedelta]:
    """What is forgotten, and after how long."""
    return {
        Forgettable.OUTBOX: retention.outbox,
        Forgettable.AUDIT_LOG: retention.audit_log,
        Forgettable.WORKFLOW: retention.workflow,
        Forgettable.DEAD_LETTER: retention.dead_letter,
        Forgettable.TIMER: retention.unseen,
        Forgettable.SESSION: retention.session,
        Forgettable.LOGIN_THROTTLE: retention.login_throttle,
        Forgettable.INVITATION: retention.invitation,
        Forgettable.IDEMPOTENCY_RECORD: retention.idempotency_record,
        Forgettable.SERVICE_INSTANCE: retention.unseen,
    }


async def expire_uploads(conn: AsyncConnection, age: timedelta, *, limit: int) -> int:
    return (await conn.execute(_EXPIRE, {"age": age, "limit": limit})).rowcount


async def tombstones(conn: AsyncConnection, age: timedelta, *, after: str, limit: int) -> list[tuple[str, str, str]]:
    """(document, collection, owner) of rows that nobody reads any more, behind ``after`` in the order of their ids."""
    rows = await conn.execute(_TOMBSTONES, {"age": age, "after": after, "limit": limit})
    return [(row.id, row.collection_id, row.owner) for row in rows]


async def remove_documents(conn: AsyncConnection, ids: Sequence[str]) -> None:
    """What they counted against their owners' quotas is to be given back in this transaction."""
    await conn.execute(_REMOVE, {"ids": list(ids)})


async def living(conn: AsyncConnection, ids: Sequence[str]) -> set[str]:
    return {row.id for row in await conn.execute(_LIVING, {"ids": list(ids)})}


async def forget(conn: AsyncConnection, rows: Forgettable, age: timedelta, *, limit: int) -> int:
    return (await conn.execute(_FORGET[rows], {"age": age, "limit": limit})).rowcount
