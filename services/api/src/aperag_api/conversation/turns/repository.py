"""SQL of turns; every statement names the owner."""

from __future__ import annotations

import json
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_api.conversation.live.stored import StoredTurn
from aperag_common.db.models.base import OPEN_SQL, Lane
from aperag_common.jobs.declared import TURN
from aperag_common.telemetry import propagate
from aperag_work import transitions
from aperag_work.database import driver
from aperag_work.rows import UNLEASED
from aperag_work.transitions import Wish

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.rows import JobRow


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


_TURNS = "turn t JOIN job j ON j.subject_id = t.id AND j.kind = 'turn'"
_OPEN_JOB = f"j.status IN {OPEN_SQL}"
_HELD = "coalesce(j.lease_until > clock_timestamp(), false) AS held"
_SELECT = f"""
    SELECT t.id, t.chat_id, t.bot_id, t.ordinal, t.message_id, j.status, j.attempt, t.outcome, t.question, t.answer,
        t.parts, t.usage, t.request, t.feedback, j.error_code, j.error_message, j.worker, t.trace_id, t.created,
        j.started_at, j.settled_at, t.cancel_requested_at, {_HELD}
    FROM {_TURNS}
"""

# Turns of one chat are numbered one after the other, and whoever deletes the chat waits or comes first.
_LOCK_CHAT = text("SELECT bot_id FROM chat WHERE id = :chat AND owner = :owner FOR UPDATE")
_SAME = text(f"{_SELECT} WHERE t.chat_id = :chat AND t.message_id = :message")
# Turns are published at once: the index of published jobs finds them.
_OPEN = text(
    f"SELECT count(*) FROM job j WHERE j.owner = :owner AND j.kind = 'turn' AND {_OPEN_JOB} AND j.dispatch > 0"
)
_INSERT = text(
    """
    INSERT INTO turn (id, owner, chat_id, bot_id, ordinal, message_id, request, rights, question, credential, trace_id)
    VALUES (:id, :owner, CAST(:chat_id AS text), :bot_id,
        (SELECT coalesce(max(ordinal) + 1, 0) FROM turn WHERE chat_id = CAST(:chat_id AS text)), :message_id,
        CAST(:request AS jsonb), CAST(:rights AS jsonb), :question, :credential, :trace_id)
    """
)
_TOUCH = text("UPDATE chat SET updated = clock_timestamp() WHERE id = :chat")
_FIND = text(f"{_SELECT} WHERE t.id = :id AND t.owner = :owner")
_HISTORY = text(f"{_SELECT} WHERE t.chat_id = :chat AND t.ordinal < :before ORDER BY t.ordinal DESC LIMIT :limit")
_OPEN_IN = text(f"{_SELECT} WHERE t.chat_id = :chat AND t.owner = :owner AND {_OPEN_JOB} ORDER BY t.ordinal")
_FIRST = text(f"{_SELECT} WHERE t.chat_id = :chat ORDER BY t.ordinal LIMIT :limit")
_STORED = text(
    f"""
    SELECT j.status, t.run, t.outcome, t.parts, t.usage, j.error_code, j.error_message,
        extract(epoch FROM coalesce(j.settled_at, j.updated))::float AS ended_at
    FROM {_TURNS} WHERE t.id = :id
    """
)
# A turn that no agent holds is over at once, and the raised generation keeps it from whoever comes for it later. The
# agent that holds one ends it itself, with what there is of the answer. The turn is locked before its job, as by its
# deletion.
_CANCEL = text(
    f"""
    WITH meant AS (
        SELECT j.id, t.id AS turn_id, {_HELD} FROM {_TURNS}
        WHERE t.id = :id AND t.owner = :owner AND {_OPEN_JOB} FOR UPDATE OF t, j
    ), ended AS (
        UPDATE job j SET generation = j.generation + 1, observed_generation = j.generation + 1, status = 'ACTIVE',
            due_at = 'infinity', {UNLEASED}, settled_at = clock_timestamp(), updated = clock_timestamp()
        FROM meant WHERE j.id = meant.id AND NOT meant.held
    )
    UPDATE turn t SET cancel_requested_at = coalesce(t.cancel_requested_at, clock_timestamp()),
        outcome = CASE WHEN meant.held THEN t.outcome ELSE 'cancelled' END
    FROM meant WHERE t.id = meant.turn_id
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


async def insert(conn: AsyncConnection, turn: NewTurn, *, first_due: timedelta) -> JobRow:
    """With its job, whose command is to be sent after the commit. The chat is locked."""
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
        "credential": secrets.token_hex(16),
        "trace_id": propagate.trace_id_of(traceparent),
    }
    await conn.execute(_INSERT, values)
    await conn.execute(_TOUCH, {"chat": turn.chat_id})
    wish = Wish(TURN.name, turn.id, turn.owner)
    [(job, _)] = await transitions.want(
        await driver(conn), TURN, [wish], lane=Lane.INTERACTIVE, first_due=first_due, traceparent=traceparent
    )
    return job


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
    """The turn as it is now; None where it is over, or no such turn is there."""
    cancelled = (await conn.execute(_CANCEL, {"id": turn_id, "owner": owner})).rowcount
    return await find(conn, owner, turn_id) if cancelled else None


def _row(found: Any) -> TurnRow | None:
    return None if found is None else TurnRow(**found._mapping)
