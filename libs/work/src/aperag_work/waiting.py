"""Jobs that wait for another one of their document: released when it is done, failed when it never will be."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common.jobs.kind import kinds
from aperag_work.database import Statement, driver
from aperag_work.rows import JobRow, columns_of, unindexed

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.database import Connection


WAITS = unindexed("j.status = 'PENDING' AND j.due_at = 'infinity'")
RELEASED = "dispatch = j.dispatch + 1, due_at = clock_timestamp() + {first_due}::interval, updated = clock_timestamp()"
"""What becomes of a job ``j`` that waits, once what it waited for is settled."""


_RELEASE_WAITING = Statement(
    "publish waiting jobs",
    f"""
    UPDATE job j SET {RELEASED.format(first_due="$2")}
    WHERE j.subject_id = ANY($1::text[]) AND j.kind = ANY($3::text[]) AND {WAITS}
    RETURNING {columns_of("j")}
    """,
)


# What waits for a job that can never be done ends with its reason instead of waiting for ever.
_FAIL_WAITING = Statement(
    "fail waiting jobs",
    f"""
    UPDATE job j SET status = 'FAILED', observed_generation = j.generation, due_at = 'infinity', error_code = $3::text,
        error_message = $4::text, settled_at = clock_timestamp(), updated = clock_timestamp()
    WHERE j.subject_id = ANY($1::text[]) AND j.kind = ANY($2::text[]) AND {WAITS}
    RETURNING {columns_of("j")}
    """,
)


def followers(kind: str) -> list[str]:
    """Kinds that wait for this one to settle."""
    return [it.name for it in kinds() if kind in it.after]


async def release_waiting(
    conn: AsyncConnection | Connection, documents: Sequence[str], kind: str, *, first_due: timedelta
) -> list[JobRow]:
    """Jobs that waited at ``infinity`` for one of this kind, which is settled: their commands are to be sent."""
    if not documents or not (waiting := followers(kind)):
        return []
    rows = await _RELEASE_WAITING.fetch(await driver(conn), list(documents), first_due, waiting)
    return [JobRow(*row) for row in rows]


async def fail_waiting(
    conn: AsyncConnection | Connection, documents: Sequence[str], kind: str, *, code: str, message: str
) -> list[JobRow]:
    """Jobs that waited for one of this kind, which will never be done."""
    if not documents or not (waiting := followers(kind)):
        return []
    rows = await _FAIL_WAITING.fetch(await driver(conn), list(documents), waiting, code, message)
    return [JobRow(*row) for row in rows]
