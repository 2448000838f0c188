"""SQL of turns, as their holder reads and writes them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.session import autocommit
from aperag_work.database import Statement

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_work.completion import Completed
    from aperag_work.database import Connection
    from aperag_work.rows import JobRow


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
    credential: str
    cancelled: bool
    waited: float
    age: float
    trace_id: str | None


@dataclass(frozen=True, slots=True)
class EarlierTurn:
    question: str
    answer: str


# Runs are counted apart from attempts: an attempt that was given back is not counted, and its events must count as older.
_BEGIN = Statement(
    "begin a turn",
    """
    UPDATE turn t SET run = t.run + 1 FROM job j WHERE t.id = $1 AND j.subject_id = t.id AND j.kind = 'turn'
    RETURNING t.id, t.owner, t.chat_id, t.ordinal, t.run, t.question, t.request, t.credential,
        t.cancel_requested_at IS NOT NULL AS cancelled,
        extract(epoch FROM coalesce(j.started_at, clock_timestamp()) - t.created)::float AS waited,
        extract(epoch FROM clock_timestamp() - t.created)::float AS age, t.trace_id
    """,
)
_LOCK = Statement("lock turns", "SELECT id FROM turn WHERE id = ANY($1::text[]) ORDER BY id FOR UPDATE")
_CHAT = Statement("read a turn's chat", "SELECT chat_id FROM turn WHERE id = $1")
_EARLIER = text(
    """
    SELECT question, answer FROM turn
    WHERE chat_id = :chat AND ordinal < :before AND outcome = 'answered' AND answer IS NOT NULL
    ORDER BY ordinal DESC LIMIT :limit
    """
)
_CANCELLED = text("SELECT cancel_requested_at IS NOT NULL FROM turn WHERE id = :id")
_END = Statement(
    "end a turn",
    """
    UPDATE turn SET answer = $2::text, parts = $3::text::jsonb, usage = $4::text::jsonb, outcome = $5::text,
        trace_id = coalesce(trace_id, $6::text)
    WHERE id = $1 RETURNING id
    """,
)


@dataclass(frozen=True, slots=True)
class TurnEnd:
    """What a turn keeps of its run."""

    answer: str
    parts: Sequence[Mapping[str, Any]]
    usage: Mapping[str, Any]
    outcome: str
    trace_id: str | None


async def lock(conn: Connection, jobs: Sequence[JobRow]) -> None:
    """Before the jobs: whoever begins, cancels or deletes a turn locks it before its job, too."""
    await _LOCK.fetch(conn, [job.subject_id for job in jobs])


async def begin(conn: Connection, turn_id: str) -> TurnRow | None:
    """In the job's fenced transaction; None where the turn is gone."""
    row = await _BEGIN.row(conn, turn_id)
    return None if row is None else TurnRow(**dict(row))


async def chat_of(conn: Connection, turn_id: str) -> str | None:
    found: str | None = await _CHAT.value(conn, turn_id)
    return found


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


async def write_ends(conn: Connection, completed: Sequence[Completed]) -> None:
    """In the transaction that completes the turns' jobs."""
    for it in completed:
        end: TurnEnd = it.result
        parts = json.dumps(list(end.parts), ensure_ascii=False)
        await _END.fetch(
            conn, it.row.subject_id, end.answer, parts, json.dumps(dict(end.usage)), end.outcome, end.trace_id
        )
