"""Where the time of one document went, read from its jobs."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.session import autocommit

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_JOBS = text(
    """
    SELECT replace(kind, 'index.', '') AS step, extract(epoch FROM created)::float AS created,
        extract(epoch FROM started_at)::float AS started, extract(epoch FROM settled_at)::float AS settled
    FROM job WHERE subject_id = :document
    """
)


async def stages(engine: AsyncEngine, document: str, *, begun: float, ended: float) -> dict[str, float]:
    """Seconds; ``begun`` and ``ended`` are ``time.time`` of the client, which shares the database's clock.

    The builds of the two indexes run beside each other: what follows the parse is that of the later one.
    """
    async with autocommit(engine) as conn:
        jobs = {row.step: row for row in await conn.execute(_JOBS, {"document": document})}
    parse = jobs["parse"]
    last = max((jobs["vector"], jobs["fulltext"]), key=lambda job: job.settled)
    return {
        "POST until the row is there": parse.created - begun,
        "parse: wait for a slot": parse.started - parse.created,
        "parse: work": parse.settled - parse.started,
        "last index: wait for a slot": last.started - parse.settled,
        "last index: work": last.settled - last.started,
        "search that proves it": ended - last.settled,
    }
