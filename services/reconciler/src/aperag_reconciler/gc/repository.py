"""SQL of the garbage collection."""

from __future__ import annotations

from enum import StrEnum
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


class Forgettable(StrEnum):
    """Rows that are kept for a time only."""

    OUTBOX = "outbox"
    AUDIT_LOG = "audit_log"
    WORKFLOW = "workflow"
    DEAD_LETTER = "dead_letter"
    OPEN_DEAD_LETTER = "open_dead_letter"
    SEARCH_HISTORY = "search_history"
    TURN = "turn"
    CHAT = "chat"
    API_KEY = "api_key"
    TIMER = "timer"
    SESSION = "session"
    LOGIN_THROTTLE = "login_throttle"
    INVITATION = "invitation"
    IDEMPOTENCY_RECORD = "idempotency_record"
    SERVICE_INSTANCE = "service_instance"
    INGEST_EVENT = "ingest_event"
    WEBHOOK_DELIVERY = "webhook_delivery"


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

# A timer is gone when nobody has run it for long, by its own measure too.
_FORGET = {
    # An event that was never relayed is never forgotten, however long the bus was away.
    Forgettable.OUTBOX: _older("outbox", "id", "created", only="epoch IS NOT NULL"),
    Forgettable.AUDIT_LOG: _older("audit_log", "id", "created"),
    Forgettable.WORKFLOW: _older("workflow", "id", "finished"),
    Forgettable.DEAD_LETTER: _older("dead_letter", "id", "redriven_at"),
    Forgettable.OPEN_DEAD_LETTER: _older("dead_letter", "id", "created", only="redriven_at IS NULL"),
    Forgettable.SEARCH_HISTORY: _older("search_history", "id", "created"),
    Forgettable.TURN: _older("turn", "id", "created", only=f"NOT {_OPEN_TURN}"),
    Forgettable.CHAT: _older("chat", "id", "updated", only=_NOTHING_IN_CHAT),
    Forgettable.API_KEY: _older("api_key", "id", "deleted_at"),
    Forgettable.TIMER: _older(
        "timer", "name", "greatest(started_at, finished_at) + 3 * period_seconds * interval '1 s'"
    ),
    Forgettable.SESSION: _older("session", "id", "expires_at"),
    Forgettable.LOGIN_THROTTLE: _older("login_throttle", "id", "greatest(failed_at, blocked_until)"),
    Forgettable.INVITATION: _older("invitation", "id", "expires_at"),
    Forgettable.IDEMPOTENCY_RECORD: _older("idempotency_record", "user_id, key", "created"),
    Forgettable.SERVICE_INSTANCE: _older("service_instance", "service, instance", "seen"),
    Forgettable.INGEST_EVENT: _older("ingest_event", "id", "received", only="status <> 'PENDING'"),
    Forgettable.WEBHOOK_DELIVERY: _older("webhook_delivery", "id", "created", only=f"NOT {_OPEN_DELIVERY}"),
}


def forgettable(retention: RetentionSettings) -> dict[Forgettable, timedelta]:
    """What is forgotten, and after how long; what is kept for ever is not among it."""
    ages = {
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
        Forgettable.INGEST_EVENT: retention.ingest_event,
        Forgettable.WEBHOOK_DELIVERY: retention.webhook_delivery,
        Forgettable.OPEN_DEAD_LETTER: retention.open_dead_letter,
        Forgettable.SEARCH_HISTORY: retention.search_history,
        Forgettable.TURN: retention.turn,
        Forgettable.CHAT: retention.chat,
        Forgettable.API_KEY: retention.api_key,
    }
    return {rows: age for rows, age in ages.items() if age is not None}


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


async def forget(conn: AsyncConnection, rows: Forgettable, age: timedelta, *, limit: int) -> int:
    return (await conn.execute(_FORGET[rows], {"age": age, "limit": limit})).rowcount


async def forget_jobs(conn: AsyncConnection, kind: str, age: timedelta, *, limit: int) -> int:
    """Settled jobs of a transient kind."""
    return (await conn.execute(_SETTLED_JOBS, {"kind": kind, "age": age, "limit": limit})).rowcount
