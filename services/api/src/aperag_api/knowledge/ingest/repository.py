"""SQL of events of other services, and of the versions that they bring documents to."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models import IngestStatus
from aperag_work.database import Statement, columns

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.database import Connection

Key = tuple[str, str, str]
"""Owner, source and id: what makes an event one event."""

# In the order in which they came: of two events with the same time the later one wins.
_INSERT = Statement(
    "insert ingest events",
    """
    INSERT INTO ingest_event (id, owner, collection_id, source, event_id, type, subject, time, data, new_document_id,
        traceparent, status, code, message, settled)
    SELECT u.id, u.owner, u.collection_id, u.source, u.event_id, u.type, u.subject, coalesce(u.time, clock_timestamp()),
        u.data::jsonb, u.new_document_id, u.traceparent, CASE WHEN u.code IS NULL THEN 'PENDING' ELSE 'FAILED' END,
        u.code, u.message, CASE WHEN u.code IS NULL THEN NULL ELSE clock_timestamp() END
    FROM unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::text[], $6::text[], $7::text[], $8::timestamptz[],
            $9::text[], $10::text[], $11::text[], $12::text[], $13::text[])
        WITH ORDINALITY AS u(id, owner, collection_id, source, event_id, type, subject, time, data, new_document_id,
            traceparent, code, message, position)
    ORDER BY u.position
    ON CONFLICT (owner, source, event_id) DO NOTHING RETURNING id
    """,
)
_KNOWN = Statement(
    "find ingest events",
    """
    SELECT e.owner, e.source, e.event_id, e.status
    FROM unnest($1::text[], $2::text[], $3::text[]) AS u(owner, source, event_id)
        JOIN ingest_event e ON (e.owner, e.source, e.event_id) = (u.owner, u.source, u.event_id)
    """,
)
_PENDING = Statement(
    "count pending ingest events",
    "SELECT owner, count(*) FROM ingest_event WHERE status = 'PENDING' AND owner = ANY($1::text[]) GROUP BY owner",
)
_LOCK = Statement(
    "lock ingest events", "SELECT id FROM ingest_event WHERE id = ANY($1::text[]) ORDER BY id FOR NO KEY UPDATE"
)
_FAIL = Statement(
    "fail an ingest event",
    """
    UPDATE ingest_event SET status = 'FAILED', code = $2, message = $3, settled = clock_timestamp()
    WHERE id = $1 AND status <> 'COMPLETED' RETURNING owner, collection_id, source, event_id, subject
    """,
)

_COLUMNS = """
    e.id, e.seq, e.owner, e.collection_id, e.source, e.event_id, e.type, e.subject, e.time, e.data, e.new_document_id,
    e.outcome, e.document_id, e.workflow_id, e.received, e.settled, coalesce(e.code, j.error_code) AS code,
    coalesce(e.message, j.error_message) AS message,
    CASE WHEN e.status = 'COMPLETED' OR j.id IS NULL THEN e.status WHEN j.status = 'FAILED' THEN 'FAILED'
        ELSE 'PENDING' END AS status
"""
# What the server gave up, or a person had run again, is known of the job alone.
_FROM = f"SELECT {_COLUMNS} FROM ingest_event e LEFT JOIN job j ON j.subject_id = e.id AND j.kind = 'ingest'"
_GET = text(f"{_FROM} WHERE e.id = :id")
_FIND = text(f"{_FROM} WHERE e.owner = :owner AND e.source = :source AND e.event_id = :event")
_HOLD = text("SELECT status FROM ingest_event WHERE id = :id FOR UPDATE")
_COMPLETE = text(
    """
    UPDATE ingest_event SET status = 'COMPLETED', outcome = :outcome, document_id = :document, workflow_id = :workflow,
        code = NULL, message = NULL, settled = clock_timestamp()
    WHERE id = :id
    """
)

_KEY = "collection_id = :collection AND source = :source AND subject = :subject"
_OPEN_VERSION = text(
    """
    INSERT INTO ingest_version (collection_id, source, subject) VALUES (:collection, :source, :subject)
    ON CONFLICT DO NOTHING
    """
)
_HOLD_VERSION = text(f"SELECT time, seq, document_id FROM ingest_version WHERE {_KEY} FOR UPDATE")
_SET_VERSION = text(
    f"UPDATE ingest_version SET time = :time, seq = :seq, document_id = :document, deleted = :deleted WHERE {_KEY}"
)
_TARGET = text(
    f"""
    SELECT d.id, d.name, d.sha256, d.object_path, d.details
    FROM ingest_version v JOIN document d ON d.id = v.document_id
    WHERE v.{_KEY.replace("AND ", "AND v.")} AND d.deleted_at IS NULL
    """
)
_DESCRIBE = text("UPDATE document SET details = details || CAST(:details AS jsonb) WHERE id = :id")


@dataclass(frozen=True, slots=True)
class NewEvent:
    """A row to be; ``code`` and ``message`` where it is refused as it comes."""

    id: str
    owner: str
    collection_id: str
    source: str
    event_id: str
    type: str
    subject: str | None
    time: datetime | None
    data: Mapping[str, Any]
    new_document_id: str | None = None
    traceparent: str | None = None
    code: str | None = None
    message: str | None = None

    @property
    def key(self) -> Key:
        return (self.owner, self.source, self.event_id)

    @property
    def encoded(self) -> str:
        return json.dumps(self.data, ensure_ascii=False)


@dataclass(frozen=True, slots=True)
class EventRow:
    id: str
    seq: int
    owner: str
    collection_id: str
    source: str
    event_id: str
    type: str
    subject: str | None
    time: datetime
    data: dict[str, Any]
    new_document_id: str | None
    outcome: str | None
    document_id: str | None
    workflow_id: str | None
    received: datetime
    settled: datetime | None
    code: str | None
    message: str | None
    status: str

    @property
    def version(self) -> dict[str, Any]:
        """The key of its document's version."""
        return {"collection": self.collection_id, "source": self.source, "subject": self.subject}


@dataclass(frozen=True, slots=True)
class HeldVersion:
    """Locked by this transaction; without ``time`` no event was carried out yet."""

    time: datetime | None
    seq: int | None
    document_id: str | None


@dataclass(frozen=True, slots=True)
class Target:
    """The living document of a version."""

    id: str
    name: str
    sha256: str
    object_path: str
    details: dict[str, Any]


async def insert(conn: Connection, events: Sequence[NewEvent]) -> set[str]:
    """Ids of those that were not known before."""
    first = columns(events, "id", "owner", "collection_id", "source", "event_id", "type", "subject", "time", "encoded")
    rest = columns(events, "new_document_id", "traceparent", "code", "message")
    return {row["id"] for row in await _INSERT.fetch(conn, *first, *rest)}


async def known(conn: Connection, keys: Sequence[Key]) -> dict[Key, str]:
    """The status of each event that is known."""
    rows = await _KNOWN.fetch(conn, *([key[at] for key in keys] for at in range(3)))
    return {(row["owner"], row["source"], row["event_id"]): row["status"] for row in rows}


async def pending(conn: Connection, owners: Sequence[str]) -> dict[str, int]:
    return {row["owner"]: row["count"] for row in await _PENDING.fetch(conn, list(owners))}


async def lock(conn: Connection, ids: Sequence[str]) -> None:
    await _LOCK.fetch(conn, list(ids))


async def fail(conn: Connection, id_: str, code: str, message: str) -> Mapping[str, Any] | None:
    """What the event's sender knows it by; None where it was carried out, or is gone."""
    row = await _FAIL.row(conn, id_, code, message)
    return None if row is None else dict(row)


async def get(conn: AsyncConnection, id_: str) -> EventRow | None:
    row = (await conn.execute(_GET, {"id": id_})).one_or_none()
    return None if row is None else EventRow(**row._mapping)


async def find(conn: AsyncConnection, owner: str, source: str, event_id: str) -> EventRow | None:
    row = (await conn.execute(_FIND, {"owner": owner, "source": source, "event": event_id})).one_or_none()
    return None if row is None else EventRow(**row._mapping)


async def hold(conn: AsyncConnection, id_: str) -> bool:
    """Whether it still has to be carried out; nobody else carries it out until this transaction ends."""
    status = (await conn.execute(_HOLD, {"id": id_})).scalar_one_or_none()
    return status is not None and status != IngestStatus.COMPLETED


async def complete(
    conn: AsyncConnection, id_: str, outcome: str, document_id: str | None, workflow_id: str | None
) -> None:
    values = {"id": id_, "outcome": outcome, "document": document_id, "workflow": workflow_id}
    await conn.execute(_COMPLETE, values)


async def hold_version(conn: AsyncConnection, event: EventRow) -> HeldVersion:
    await conn.execute(_OPEN_VERSION, event.version)
    row = (await conn.execute(_HOLD_VERSION, event.version)).one()
    return HeldVersion(**row._mapping)


async def set_version(conn: AsyncConnection, event: EventRow, document_id: str | None, *, deleted: bool) -> None:
    newest = {"time": event.time, "seq": event.seq, "document": document_id, "deleted": deleted}
    await conn.execute(_SET_VERSION, {**event.version, **newest})


async def target(conn: AsyncConnection, event: EventRow) -> Target | None:
    row = (await conn.execute(_TARGET, event.version)).one_or_none()
    return None if row is None else Target(**row._mapping)


async def describe(conn: AsyncConnection, document_id: str, details: Mapping[str, Any]) -> None:
    """Keep with the document what its sender says of it."""
    await conn.execute(_DESCRIBE, {"id": document_id, "details": json.dumps(details, ensure_ascii=False)})
