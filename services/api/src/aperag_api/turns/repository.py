"""SQL of turns; every statement names the owner."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL
from aperag_common.live.stored import StoredTurn
from aperag_common.telemetry import propagate
from aperag_common.work.driven_sql import ROW_COLUMNS
from aperag_common.work.driven_tables import DrivenRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection


@dataclass(frozen=True, slots=True)
class NewTurn:
    """``request`` and ``rights`` as the model ``Turn`` describes them."""

    id: str
    owner: str
    chat_id: str
    bot_id: str
    message_id: str
    question: str
    request: dict[str, Any]
    rights: dict[str, Any]


@dataclass(frozen=True, slots=True)
class TurnRow:
    """``held``: an agent's lease is valid now."""

    id: str
    chat_id: str
    bot_id: str
    ordinal: int
    message_id: str
    status: str
    attempt: int
    outcome: str | None
    question: str
    answer: str | None
    parts: list[dict[str, Any]]
    usage: dict[str, Any] | None
    request: dict[str, Any]
    feedback: dict[str, Any] | None
    error_code: str | None
    error_message: str | None
    worker: str | None
    trace_id: str | None
    created: datetime
    started_at: datetime | None
    settled_at: datetime | None
    cancel_requested_at: datetime | None
    held: bool


_HELD = "lease_until IS NOT NULL AND lease_until > clock_timestamp()"
_COLUMNS = f"""
    id, chat_id, bot_id, ordinal, message_id, status, attempt, outcome, question, answer, parts, usage, request,
    feedback, error_code, error_message, worker, trace_id, created, started_at, settled_at, cancel_requested_at,
    {_HELD} AS held
"""

# Turns of one chat are numbered one after the other, and whoever deletes the chat waits or comes first.
_LOCK_CHAT = text("SELECT bot_id FROM chat WHERE id = :chat AND owner = :owner FOR UPDATE")
_SAME = text(f"SELECT {_COLUMNS} FROM turn WHERE chat_id = :chat AND message_id = :message")
_OPEN = text(f"SELECT count(*) FROM turn WHERE owner = :owner AND status IN {OPEN_SQL}")
_INSERT = text(
    f"""
    INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, parts, status,
        generation, observed_generation, dispatch, attempt, failures, due_at, lane, traceparent, trace_id)
    VALUES (:id, :owner, CAST(:chat_id AS text), :bot_id,
        (SELECT coalesce(max(ordinal) + 1, 0) FROM turn WHERE chat_id = CAST(:chat_id AS text)), :message_id, CAST(:request AS jsonb),
        CAST(:rights AS jsonb), :question, '[]', 'PENDING', 1, 0, 1, 0, 0, clock_timestamp() + :first_due,
        'interactive', :traceparent, :trace_id)
    RETURNING {ROW_COLUMNS}
    """
)
_TOUCH = text("UPDATE chat SET updated = clock_timestamp() WHERE id = :chat")
_FIND = text(f"SELECT {_COLUMNS} FROM turn WHERE id = :id AND owner = :owner")
_HISTORY = text(
    f"""
    SELECT {_COLUMNS} FROM turn
    WHERE chat_id = :chat AND ordinal < :before ORDER BY ordinal DESC LIMIT :limit
    """
)
_OPEN_IN = text(
    f"SELECT {_COLUMNS} FROM turn WHERE chat_id = :chat AND owner = :owner AND status IN {OPEN_SQL} ORDER BY ordinal"
)
_FIRST = text(f"SELECT {_COLUMNS} FROM turn WHERE chat_id = :chat ORDER BY ordinal LIMIT :limit")
_STORED = text(
    """
    SELECT status, run, outcome, parts, usage, error_code, error_message,
        extract(epoch FROM coalesce(settled_at, updated))::float AS ended_at
    FROM turn WHERE id = :id
    """
)
# A turn that nobody holds is over at once, and the raised generation keeps it from whoever comes for it later. The
# agent that holds one ends it itself, with what there is of the answer.
_CANCEL = text(
    f"""
    UPDATE turn SET cancel_requested_at = coalesce(cancel_requested_at, clock_timestamp()), updated = clock_timestamp(),
        generation = CASE WHEN {_HELD} THEN generation ELSE generation + 1 END,
        observed_generation = CASE WHEN {_HELD} THEN observed_generation ELSE generation + 1 END,
        status = CASE WHEN {_HELD} THEN status ELSE 'ACTIVE' END,
        outcome = CASE WHEN {_HELD} THEN outcome ELSE 'cancelled' END,
        settled_at = CASE WHEN {_HELD} THEN settled_at ELSE clock_timestamp() END,
        due_at = CASE WHEN {_HELD} THEN due_at ELSE 'infinity' END,
        lease_token = CASE WHEN {_HELD} THEN lease_token END,
        lease_owner = CASE WHEN {_HELD} THEN lease_owner END,
        lease_until = CASE WHEN {_HELD} THEN lease_until END
    WHERE id = :id AND owner = :owner AND status IN {OPEN_SQL}
    RETURNING {_COLUMNS}
    """
)


async def lock_chat(conn: AsyncConnection, owner: str, chat_id: str) -> str | None:
    """The bot that answers in it; None where there is no such chat of the owner's."""
    found: str | None = (await conn.execute(_LOCK_CHAT, {"chat": chat_id, "owner": owner})).scalar_one_or_none()
    return found


async def of_message(conn: AsyncConnection, chat_id: str, message_id: str) -> TurnRow | None:
    return _row((await conn.execute(_SAME, {"chat": chat_id, "message": message_id})).one_or_none())


async def count_open(conn: AsyncConnection, owner: str) -> int:
    return int((await conn.execute(_OPEN, {"owner": owner})).scalar_one())


async def insert(conn: AsyncConnection, turn: NewTurn, *, first_due: timedelta) -> DrivenRow:
    """The chat is locked. Its command is to be sent after the commit."""
    traceparent = propagate.current_traceparent()
    values = {
        "id": turn.id,
        "owner": turn.owner,
        "chat_id": turn.chat_id,
        "bot_id": turn.bot_id,
        "message_id": turn.message_id,
        "question": turn.question,
        "request": json.dumps(turn.request),
        "rights": json.dumps(turn.rights),
        "first_due": first_due,
        "traceparent": traceparent,
        "trace_id": traceparent.split("-")[1] if traceparent else None,
    }
    row = (await conn.execute(_INSERT, values)).one()
    await conn.execute(_TOUCH, {"chat": turn.chat_id})
    return DrivenRow(**row._mapping)


async def find(conn: AsyncConnection, owner: str, turn_id: str) -> TurnRow | None:
    return _row((await conn.execute(_FIND, {"id": turn_id, "owner": owner})).one_or_none())


async def open_in(conn: AsyncConnection, owner: str, chat_id: str) -> Sequence[TurnRow]:
    rows = await conn.execute(_OPEN_IN, {"chat": chat_id, "owner": owner})
    return [TurnRow(**row._mapping) for row in rows]


async def history(conn: AsyncConnection, chat_id: str, *, before: int, limit: int) -> Sequence[TurnRow]:
    """The newest ones before an ordinal, oldest first; whose chat it is the caller has seen."""
    rows = await conn.execute(_HISTORY, {"chat": chat_id, "before": before, "limit": limit})
    return [TurnRow(**row._mapping) for row in rows][::-1]


async def first(conn: AsyncConnection, chat_id: str, *, limit: int) -> Sequence[TurnRow]:
    """The oldest ones; whose chat it is the caller has seen."""
    return [TurnRow(**row._mapping) for row in await conn.execute(_FIRST, {"chat": chat_id, "limit": limit})]


async def stored(conn: AsyncConnection, turn_id: str) -> StoredTurn | None:
    """For whoever follows it; whose turn it is was seen before."""
    row = (await conn.execute(_STORED, {"id": turn_id})).one_or_none()
    if row is None:
        return None
    return StoredTurn(**row._mapping)


async def cancel(conn: AsyncConnection, owner: str, turn_id: str) -> TurnRow | None:
    """The row as it is now; None where nothing was open."""
    return _row((await conn.execute(_CANCEL, {"id": turn_id, "owner": owner})).one_or_none())


def _row(found: Any) -> TurnRow | None:
    return None if found is None else TurnRow(**found._mapping)
