"""SQL of the re-drive: rows that count as lost are taken, stamped with their next due time, and published after."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL
from aperag_common.work.dispatch import STEP_COLUMNS, Dispatch, StepRow, step_dispatch
from aperag_common.work.driven_sql import ROW_COLUMNS
from aperag_common.work.driven_tables import TABLES, DrivenRow, DrivenTable
from aperag_common.work.finish import RELEASE_BUILDS
from aperag_common.work.policy import LEASE_SLACK

if TYPE_CHECKING:
    from sqlalchemy import TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.policy import WorkPolicy

STEPS = "document_step"
DRIVEN = (STEPS, *TABLES)

# ``dispatch`` has been raised when the power of two is taken: the first re-drive waits twice the first period.
_NEXT_DUE = """clock_timestamp()
    + least(CAST(:first_due AS interval) * power(2, least(driven.dispatch, 16)), CAST(:max_due AS interval))"""

# No policy leases for longer than ``lease`` or sets a due time later than ``latest_due``: such values were written
# before the database's clock was set back, and nobody would look at their rows until it has caught up. A lease is not
# taken away but made as long as a new one: whoever lives renews it before it ends.
_LEASED_TOO_LONG = "driven.lease_until > clock_timestamp() + :lease + :slack"
_TOO_FAR = f"""driven.due_at < 'infinity' AND driven.due_at > clock_timestamp() + :lease + :slack
    AND ({_LEASED_TOO_LONG} OR driven.due_at > clock_timestamp() + :latest_due)"""

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


@dataclass(frozen=True, slots=True)
class _Statements:
    take: TextClause
    pull_in: TextClause


@cache
def _statements(table: str) -> _Statements:
    columns = (STEP_COLUMNS if table == STEPS else ROW_COLUMNS).split(", ")
    take = f"""
        WITH lost AS (
            SELECT id FROM {table} WHERE status IN {OPEN_SQL} AND due_at <= clock_timestamp() AND dispatch > 0
            ORDER BY due_at LIMIT :limit FOR UPDATE SKIP LOCKED
        )
        UPDATE {table} AS driven SET dispatch = driven.dispatch + 1, due_at = {_NEXT_DUE}
        FROM lost WHERE driven.id = lost.id
        RETURNING {", ".join(f"driven.{column}" for column in columns)}
    """
    pull_in = f"""
        WITH far AS (
            SELECT id FROM {table} AS driven WHERE status IN {OPEN_SQL} AND {_TOO_FAR}
            LIMIT :limit FOR UPDATE SKIP LOCKED
        )
        UPDATE {table} AS driven SET lease_until = least(driven.lease_until, clock_timestamp() + :lease),
            due_at = clock_timestamp() + CASE WHEN driven.lease_until IS NULL THEN CAST(:first_due AS interval)
                ELSE CAST(:lease AS interval) + :slack END
        FROM far WHERE driven.id = far.id
    """
    return _Statements(text(take), text(pull_in))


async def take_lost(
    conn: AsyncConnection, table: str, policy: WorkPolicy, *, limit: int, source: str
) -> list[Dispatch]:
    """``table`` is one of ``DRIVEN``."""
    parameters = {"limit": limit, "first_due": policy.first_due, "max_due": policy.max_due}
    rows = await conn.execute(_statements(table).take, parameters)
    return [_dispatch(TABLES.get(table), dict(row._mapping), source) for row in rows]


def _dispatch(table: DrivenTable | None, values: dict[str, Any], source: str) -> Dispatch:
    if table is None:
        return step_dispatch(StepRow(**values), source=source)
    return table.dispatch(DrivenRow(**values), source=source)


async def pull_in(conn: AsyncConnection, table: str, policy: WorkPolicy, *, limit: int) -> int:
    """Make leases and due times that no policy can have set as long as those of today; how many rows."""
    parameters = {
        "limit": limit,
        "lease": policy.lease,
        "slack": LEASE_SLACK,
        "first_due": policy.first_due,
        "latest_due": policy.latest_due,
    }
    return (await conn.execute(_statements(table).pull_in, parameters)).rowcount


async def free_stuck_builds(conn: AsyncConnection, policy: WorkPolicy, *, limit: int, source: str) -> list[Dispatch]:
    stuck = list((await conn.execute(_STUCK_DOCUMENTS, {"limit": limit})).scalars())
    rows = await conn.execute(RELEASE_BUILDS, {"documents": stuck, "first_due": policy.first_due})
    return [step_dispatch(StepRow(**row._mapping), source=source) for row in rows]
