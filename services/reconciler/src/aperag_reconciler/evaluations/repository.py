"""SQL of evaluations' upkeep."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_reconciler.evaluations.decide import Items, Standing

if TYPE_CHECKING:
    from collections.abc import Iterable
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

# Whoever holds an item is writing to it: that one is not stuck.
_RESET = text(
    """
    WITH stuck AS (
        SELECT id FROM evaluation_item
        WHERE status = 'RUNNING' AND coalesce(started_at, updated) < clock_timestamp() - CAST(:age AS interval)
        ORDER BY id LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE evaluation_item i SET status = 'PENDING', started_at = NULL, updated = clock_timestamp()
    FROM stuck WHERE i.id = stuck.id RETURNING i.evaluation_id
    """
)

_OPEN = text(
    """
    SELECT id FROM evaluation
    WHERE deleted_at IS NULL AND (status IN ('PENDING', 'RUNNING', 'PAUSED') OR id = ANY(:also)) ORDER BY id
    """
)

_LOCK = text(
    """
    SELECT status, error_message, total_questions, completed_questions, average_score
    FROM evaluation WHERE id = :id AND deleted_at IS NULL FOR UPDATE
    """
)

_ITEMS = text(
    """
    SELECT count(*) AS total, count(*) FILTER (WHERE status IN ('COMPLETED', 'FAILED')) AS ended,
        count(*) FILTER (WHERE status = 'FAILED') AS failed,
        avg(llm_judge_score) FILTER (WHERE status = 'COMPLETED')::float AS average
    FROM evaluation_item WHERE evaluation_id = :id
    """
)

_WRITE = text(
    """
    UPDATE evaluation SET status = :status, error_message = :error_message, total_questions = :total_questions,
        completed_questions = :completed_questions, average_score = :average_score, updated = clock_timestamp()
    WHERE id = :id
    """
)

_COUNTS = text("SELECT status, count(*) AS evaluations FROM evaluation WHERE deleted_at IS NULL GROUP BY status")


async def reset_items(conn: AsyncConnection, age: timedelta, *, limit: int) -> list[str]:
    """The evaluation of each item that was reset."""
    return list((await conn.execute(_RESET, {"age": age, "limit": limit})).scalars())


async def open_evaluations(conn: AsyncConnection, also: Iterable[str]) -> list[str]:
    return list((await conn.execute(_OPEN, {"also": sorted(set(also))})).scalars())


async def lock(conn: AsyncConnection, evaluation_id: str) -> tuple[Standing, Items] | None:
    """As it stands, and what its items say; None where it was deleted."""
    found = (await conn.execute(_LOCK, {"id": evaluation_id})).one_or_none()
    if found is None:
        return None
    items = (await conn.execute(_ITEMS, {"id": evaluation_id})).one()
    return Standing(**found._mapping), Items(**items._mapping)


async def write(conn: AsyncConnection, evaluation_id: str, standing: Standing) -> None:
    await conn.execute(_WRITE, {"id": evaluation_id, **asdict(standing)})


async def counts(conn: AsyncConnection) -> dict[str, int]:
    return {row.status: row.evaluations for row in await conn.execute(_COUNTS)}
