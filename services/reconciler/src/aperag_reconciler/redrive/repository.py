"""SQL of the re-drive: rows that count as lost are taken, stamped with their next due time, and published after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL
from aperag_common.work.dispatch import STEP_COLUMNS, Dispatch, StepRow, purge_dispatch, step_dispatch
from aperag_common.work.finish import RELEASE_BUILDS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.policy import WorkPolicy


# ``dispatch`` has been raised when the power of two is taken: the first re-drive waits twice the first period.
_NEXT_DUE = "clock_timestamp() + least(CAST(:first_due AS interval) * power(2, least({table}.dispatch, 16)), CAST(:max_due AS interval))"

_TAKE_STEPS = text(
    f"""
    WITH lost AS (
        SELECT id FROM document_step
        WHERE status IN {OPEN_SQL} AND due_at <= clock_timestamp() AND dispatch > 0
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE document_step SET dispatch = document_step.dispatch + 1, due_at = {_NEXT_DUE.format(table="document_step")}
    FROM lost WHERE document_step.id = lost.id
    RETURNING {", ".join(f"document_step.{c}" for c in STEP_COLUMNS.split(", "))}
    """
)

_TAKE_PURGES = text(
    f"""
    WITH lost AS (
        SELECT id FROM collection_purge WHERE status IN {OPEN_SQL} AND due_at <= clock_timestamp()
        ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
    )
    UPDATE collection_purge SET dispatch = collection_purge.dispatch + 1,
        due_at = {_NEXT_DUE.format(table="collection_purge")}
    FROM lost WHERE collection_purge.id = lost.id
    RETURNING collection_purge.id, owner, generation, dispatch, traceparent
    """
)

# A build whose parse is settled must not wait: whoever settled it lets builds go in the same transaction, so this
# finds something only after a change of this code or a hand in the database.
_STUCK_DOCUMENTS = text(
    """
    SELECT DISTINCT s.document_id FROM document_step s
    JOIN document_step p ON p.document_id = s.document_id AND p.kind = 'parse'
    WHERE s.kind <> 'parse' AND s.status = 'PENDING' AND s.due_at = 'infinity' AND p.status = 'ACTIVE'
    LIMIT :limit
    """
)


async def take_steps(conn: AsyncConnection, policy: WorkPolicy, *, limit: int, source: str) -> list[Dispatch]:
    parameters = {"limit": limit, "first_due": policy.first_due, "max_due": policy.max_due}
    rows = await conn.execute(_TAKE_STEPS, parameters)
    return [step_dispatch(StepRow(**row._mapping), source=source) for row in rows]


async def take_purges(conn: AsyncConnection, policy: WorkPolicy, *, limit: int, source: str) -> list[Dispatch]:
    parameters = {"limit": limit, "first_due": policy.first_due, "max_due": policy.max_due}
    rows = await conn.execute(_TAKE_PURGES, parameters)
    return [purge_dispatch(r.id, r.owner, r.generation, r.dispatch, r.traceparent, source=source) for r in rows]


async def free_stuck_builds(conn: AsyncConnection, policy: WorkPolicy, *, limit: int, source: str) -> list[Dispatch]:
    stuck = list((await conn.execute(_STUCK_DOCUMENTS, {"limit": limit})).scalars())
    rows = await conn.execute(RELEASE_BUILDS, {"documents": stuck, "first_due": policy.first_due})
    return [step_dispatch(StepRow(**row._mapping), source=source) for row in rows]
