"""Facts on their way to the event stream: written with the change, relayed after it, again after a wipe."""

from __future__ import annotations

import json
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import bindparam, text
from sqlalchemy.dialects.postgresql import ARRAY, UUID

from aperag_common.bus import subjects

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.events.envelope import Message

_INSERT = text(
    """
    INSERT INTO outbox (id, subject, payload, traceparent)
    SELECT u.id::uuid, u.subject, u.payload::jsonb, u.traceparent
    FROM unnest(CAST(:ids AS text[]), CAST(:subjects AS text[]), CAST(:payloads AS text[]),
        CAST(:traceparents AS text[])) AS u(id, subject, payload, traceparent)
    """
)

_MARK = text("UPDATE outbox SET epoch = greatest(coalesce(epoch, 0), :epoch) WHERE id = ANY(:ids)").bindparams(
    bindparam("ids", type_=ARRAY(UUID(as_uuid=True)))
)

_EPOCH = text("SELECT epoch FROM stream_epoch WHERE stream = :stream")


@dataclass(frozen=True, slots=True)
class Fact:
    """An outbox row: ``id`` is the event's id and its message id."""

    id: uuid.UUID
    subject: str
    payload: dict[str, Any]
    traceparent: str | None


def fact(message: Message, traceparent: str | None) -> Fact:
    aggregate, name = message.type.split(".", 1)
    return Fact(
        uuid.UUID(message.id),
        subjects.event(message.owner, aggregate, name),
        message.model_dump(mode="json"),
        traceparent,
    )


async def add(conn: AsyncConnection, facts: Sequence[Fact]) -> None:
    """Insert into the caller's transaction."""
    if not facts:
        return
    await conn.execute(
        _INSERT,
        {
            "ids": [str(f.id) for f in facts],
            "subjects": [f.subject for f in facts],
            "payloads": [json.dumps(f.payload, ensure_ascii=False) for f in facts],
            "traceparents": [f.traceparent for f in facts],
        },
    )


async def mark_relayed(conn: AsyncConnection, ids: Sequence[uuid.UUID], epoch: int) -> None:
    """``epoch`` must have been read before the publish: an older one only means that a row is relayed again."""
    await conn.execute(_MARK, {"ids": list(ids), "epoch": epoch})


async def current_epoch(conn: AsyncConnection) -> int:
    """The event stream's life as the database knows it; 0 before the reconciler has seen the stream."""
    return (await conn.execute(_EPOCH, {"stream": subjects.EVENTS})).scalar() or 0
