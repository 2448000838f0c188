"""SQL of turns, as their holder reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.session import autocommit

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine


@dataclass(frozen=True, slots=True)
class TurnRow:
    """``run`` counts this one; ``waited`` is how many seconds passed from the question to the first of them.

    ``age`` is that of the question, in seconds, when this run was begun.
    """

    id: str
    owner: str
    chat_id: str
    ordinal: int
    run: int
    question: str
    request: dict[str, Any]
    cancelled: bool
    waited: float
    age: float
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    question: str
    answer: str


_FENCE = "id = :id AND generation = :generation AND lease_token = :token"
# Runs are counted apart from attempts: an attempt that was given back is not counted, and what it told must be older.
_BEGIN = text(
    f"""
    UPDATE turn SET run = run + 1 WHERE {_FENCE}
    RETURNING id, owner, chat_id, ordinal, run, question, request,
        cancel_requested_at IS NOT NULL AS cancelled,
        extract(epoch FROM coalesce(started_at, clock_timestamp()) - created)::float AS waited,
        extract(epoch FROM clock_timestamp() - created)::float AS age, trace_id
    """
)
_EARLIER = text(
    """
    SELECT question, answer FROM turn
    WHERE chat_id = :chat AND ordinal < :before AND outcome = 'answered' AND answer IS NOT NULL
    ORDER BY ordinal DESC LIMIT :limit
    """
)
_CANCELLED = text("SELECT cancel_requested_at IS NOT NULL FROM turn WHERE id = :id")
_END = text(
    """
    UPDATE turn SET answer = :answer, parts = CAST(:parts AS jsonb), usage = CAST(:usage AS jsonb), outcome = :outcome,
        trace_id = coalesce(trace_id, :trace_id)
    WHERE id = :id
    """
)


async def begin(engine: AsyncEngine, fence: Mapping[str, Any]) -> TurnRow | None:
    """None where the turn is another's by now."""
    async with autocommit(engine) as conn:
        row = (await conn.execute(_BEGIN, dict(fence))).one_or_none()
    return None if row is None else TurnRow(**row._mapping)


async def earlier(engine: AsyncEngine, chat_id: str, *, before: int, limit: int) -> Sequence[EarlierTurn]:
    """The newest answered ones, the oldest of them first."""
    async with autocommit(engine) as conn:
        rows = await conn.execute(_EARLIER, {"chat": chat_id, "before": before, "limit": limit})
        return [EarlierTurn(**row._mapping) for row in rows][::-1]


async def is_cancelled(engine: AsyncEngine, turn_id: str) -> bool:
    """A turn that is gone counts as well."""
    async with autocommit(engine) as conn:
        found = (await conn.execute(_CANCELLED, {"id": turn_id})).scalar_one_or_none()
    return found is None or bool(found)


async def end(
    conn: AsyncConnection,
    turn_id: str,
    *,
    answer: str,
    parts: Sequence[Mapping[str, Any]],
    usage: Mapping[str, Any],
    outcome: str,
    trace_id: str | None,
) -> None:
    """In the transaction that fences it."""
    values = {
        "id": turn_id,
        "answer": answer,
        "parts": json.dumps(list(parts), ensure_ascii=False),
        "usage": json.dumps(dict(usage)),
        "outcome": outcome,
        "trace_id": trace_id,
    }
    await conn.execute(_END, values)
