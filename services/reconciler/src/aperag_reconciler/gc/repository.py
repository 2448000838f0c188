"""SQL of the garbage collection."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy import Row, TextClause
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
    RETURNING document.id, collection_id, owner, name, status, revision
    """
)

# A tombstone whose removals ended FAILED is cleared here once more: the row's cascade takes what they left.
# While one is open the row stays, however long: its task has to end.
_OPEN_JOB = f"EXISTS (SELECT FROM job j WHERE j.subject_id = document.id AND j.status IN {OPEN_SQL})"
_TOMBSTONES = text(
    f"""
    SELECT id, collection_id, owner FROM document
    WHERE ((deleted_at < clock_timestamp() - CAST(:age AS interval))
        OR (status = 'EXPIRED' AND updated < clock_timestamp() - CAST(:age AS interval))) AND NOT {_OPEN_JOB}
        AND id > :after
    ORDER BY id LIMIT :limit
    """
)

_REMOVE = text(
    f"""
    DELETE FROM document WHERE id = ANY(:ids) AND (deleted_at IS NOT NULL OR status = 'EXPIRED') AND NOT {_OPEN_JOB}
    """
)

# An event of another service brings its content before its document is made.
_LIVING = text(
    """
    SELECT id FROM document WHERE id = ANY(:ids)
    UNION SELECT new_document_id FROM ingest_event WHERE new_document_id = ANY(:ids) AND status <> 'COMPLETED'
    """
)


def _older(table: str, key: str, since: str, *, only: str = "true") -> TextClause:
    # now(), unlike clock_timestamp(), lets PostgreSQL use the index on ``since``.
    return text(
        f"""
        DELETE FROM {table} WHERE ({key}) IN (
            SELECT {key} FROM {table} WHERE {since} < now() - CAST(:age AS interval) AND {only}
            LIMIT :limit FOR UPDATE SKIP LOCKED)
        """
    )


_OPEN_TURN = f"EXISTS (SELECT FROM job j WHERE j.subject_id = turn.id AND j.kind = 'turn' AND j.status IN {OPEN_SQL})"
_OPEN_DELIVERY = f"EXISTS (SELECT FROM job j WHERE j.subject_id = webhook_delivery.id AND j.status IN {OPEN_SQL})"
# Whoever deletes a chat deletes its files with it: one that has some, or is still being answered in, is left alone.
_NOTHING_IN_CHAT = f"""
    NOT EXISTS (SELECT FROM document d WHERE d.chat_id = chat.id AND d.deleted_at IS NULL) AND NOT EXISTS (
        SELECT FROM turn t JOIN job j ON j.subject_id = t.id AND j.kind = 'turn'
        WHERE t.chat_id = chat.id AND j.status IN {OPEN_SQL})
"""
_SETTLED_JOBS = text(
    f"""
    DELETE FROM job WHERE id IN (
        SELECT id FROM job WHERE kind = :kind AND status NOT IN {OPEN_SQL}
            AND settled_at < now() - CAST(:age AS interval)
        LIMIT :limit FOR UPDATE SKIP LOCKED)
    """
)

# By the setting that says for how long rows are kept.
_FORGET = (
    # As long as the stream keeps it: from its relay on, however long the bus was away, and for ever without one. It is
    # found by the index on ``created``, which is never later.
    ("outbox", _older("outbox", "id", "created", only="relayed < now() - CAST(:age AS interval)")),
    ("audit_log", _older("audit_log", "id", "created")),
    ("workflow", _older("workflow", "id", "finished")),
    ("dead_letter", _older("dead_letter", "id", "redriven_at")),
    ("open_dead_letter", _older("dead_letter", "id", "created", only="redriven_at IS NULL")),
    ("search_history", _older("search_history", "id", "created")),
    ("turn", _older("turn", "id", "created", only=f"NOT {_OPEN_TURN}")),
    ("chat", _older("chat", "id", "updated", only=_NOTHING_IN_CHAT)),
    ("api_key", _older("api_key", "id", "deleted_at")),
    # A timer is gone when nobody has run it for long, by its own measure too.
    ("unseen", _older("timer", "name", "greatest(started_at, finished_at) + 3 * period_seconds * interval '1 s'")),
    ("unseen", _older("service_instance", "service, instance", "seen")),
    ("session", _older("session", "id", "expires_at")),
    ("login_throttle", _older("login_throttle", "id", "greatest(failed_at, blocked_until)")),
    ("invitation", _older("invitation", "id", "expires_at")),
    ("idempotency_record", _older("idempotency_record", "user_id, key", "created")),
    ("ingest_event", _older("ingest_event", "id", "received", only="status <> 'PENDING'")),
    ("webhook_delivery", _older("webhook_delivery", "id", "created", only=f"NOT {_OPEN_DELIVERY}")),
)


def forgettable(retention: RetentionSettings) -> list[tuple[TextClause, timedelta]]:
    """What removes rows that are kept for a time only, and after how long; what is kept for ever is not among it."""
    ages = ((statement, getattr(retention, setting)) for setting, statement in _FORGET)
    return [(statement, age) for statement, age in ages if age is not None]


async def expire_uploads(conn: AsyncConnection, age: timedelta, *, limit: int) -> Sequence[Row[Any]]:
    """The documents as they are from now on."""
    return (await conn.execute(_EXPIRE, {"age": age, "limit": limit})).all()


async def tombstones(conn: AsyncConnection, age: timedelta, *, after: str, limit: int) -> list[tuple[str, str, str]]:
    """(document, collection, owner) of rows that nobody reads any more, behind ``after`` in the order of their ids."""
    rows = await conn.execute(_TOMBSTONES, {"age": age, "after": after, "limit": limit})
    return [(row.id, row.collection_id, row.owner) for row in rows]


async def remove_documents(conn: AsyncConnection, ids: Sequence[str]) -> None:
    """What they counted against their owners' quotas is to be given back in this transaction."""
    await conn.execute(_REMOVE, {"ids": list(ids)})


async def living(conn: AsyncConnection, ids: Sequence[str]) -> set[str]:
    return {row.id for row in await conn.execute(_LIVING, {"ids": list(ids)})}


async def forget(conn: AsyncConnection, statement: TextClause, age: timedelta, *, limit: int) -> int:
    """``statement`` is one of the ``forgettable``."""
    return (await conn.execute(statement, {"age": age, "limit": limit})).rowcount


async def forget_jobs(conn: AsyncConnection, kind: str, age: timedelta, *, limit: int) -> int:
    """Settled jobs of a transient kind."""
    return (await conn.execute(_SETTLED_JOBS, {"kind": kind, "age": age, "limit": limit})).rowcount
