"""Events on their way to their stream: written with the change, relayed after it, again after a wipe."""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common import subjects
from aperag_common.events.facts import FACTS
from aperag_common.telemetry import propagate
from aperag_work.database import Statement, columns, driver

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.events.envelope import Message
    from aperag_work.database import Connection

_KNOWN = [fact.type_name for fact in FACTS]
_FACT = "split_part(subject, '.', 4) || '.' || split_part(subject, '.', 5)"

INSERTED = """
    INSERT INTO outbox (id, subject, payload, traceparent)
    SELECT u.id::uuid, u.subject, u.payload::jsonb, u.traceparent
    FROM unnest({ids}::text[], {subjects}::text[], {payloads}::text[], {traceparents}::text[])
        AS u(id, subject, payload, traceparent)
"""
_INSERT = Statement(
    "insert events", INSERTED.format(ids="$1", subjects="$2", payloads="$3", traceparents="$4") + " RETURNING id"
)

_MARK = Statement(
    "mark events as relayed",
    """
    UPDATE outbox SET epoch = greatest(coalesce(epoch, 0), $2::int), relayed = clock_timestamp()
    WHERE id = ANY($1::uuid[]) RETURNING id
    """,
)

_EPOCH = Statement("read the epoch", "SELECT epoch FROM stream_epoch WHERE stream = $1")

# No cursor over an id or a time: late commits would be skipped. What is not marked with this epoch is found again.
_UNRELAYED = Statement(
    "read unrelayed events",
    f"""
    WITH unrelayed AS MATERIALIZED (
        (SELECT id, created FROM outbox
            WHERE epoch IS NULL AND created < clock_timestamp() - $2::interval AND {_FACT} = ANY($4::text[]) LIMIT $3::int)
        UNION ALL (SELECT id, created FROM outbox
            WHERE epoch < $1::int AND created < clock_timestamp() - $2::interval AND {_FACT} = ANY($4::text[])
            LIMIT $3::int)
    )
    SELECT o.id, o.subject, o.payload::text, o.traceparent FROM unrelayed u JOIN outbox o ON o.id = u.id
    ORDER BY u.created LIMIT $3::int
    """,
)


@dataclass(frozen=True, slots=True)
class OutboxEvent:
    """An outbox row: ``id`` is the event's id and its message id, ``payload`` its JSON.

    ``made`` is when this process made it, in monotonic seconds; 0 where another one did.
    """

    id: str
    subject: str
    payload: str
    traceparent: str | None
    made: float = 0.0

    @property
    def type(self) -> str:
        return subjects.parse_event(self.subject).type


def event(message: Message, traceparent: str | None) -> OutboxEvent:
    aggregate, name = message.type.split(".", 1)
    subject = subjects.event(message.owner, aggregate, name)
    return OutboxEvent(message.id, subject, message.model_dump_json(), traceparent, time.monotonic())


def arguments(events: Sequence[OutboxEvent]) -> list[list[str | None]]:
    """Of ``INSERTED``."""
    return columns(events, "id", "subject", "payload", "traceparent")


async def add(conn: AsyncConnection | Connection, events: Sequence[OutboxEvent]) -> None:
    """Insert into the caller's transaction."""
    if events:
        await _INSERT.fetch(await driver(conn), *arguments(events))


async def record(conn: AsyncConnection | Connection, *messages: Message) -> tuple[OutboxEvent, ...]:
    """Write them into the caller's transaction; they are to be delivered after it."""
    events = tuple(event(message, propagate.current_traceparent()) for message in messages)
    await add(conn, events)
    return events


async def mark_relayed(conn: Connection, ids: Sequence[str], epoch: int) -> None:
    """``epoch`` must have been read before the publish: an older one only means that a row is relayed again."""
    await _MARK.fetch(conn, [uuid.UUID(it) for it in ids], epoch)


async def current_epoch(conn: Connection) -> int:
    """The event stream's life as the database knows it; 0 before the reconciler has seen the stream."""
    return await _EPOCH.value(conn, subjects.EVENTS) or 0


async def unrelayed(conn: Connection, epoch: int, *, older_than: object, limit: int) -> list[OutboxEvent]:
    """Events that a crash left behind, or that a wiped stream has lost; the oldest first.

    Facts that this version does not know are left for the version that does.
    """
    rows = await _UNRELAYED.fetch(conn, epoch, older_than, limit, _KNOWN)
    return [OutboxEvent(str(r["id"]), r["subject"], r["payload"], r["traceparent"]) for r in rows]
