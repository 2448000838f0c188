"""When a collection's summary is made anew: a row while the collection wants one, a generation per reason."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import StepStatus
from aperag_common.telemetry import propagate
from aperag_common.work.driven import raise_again
from aperag_common.work.driven_sql import ROW_COLUMNS
from aperag_common.work.driven_tables import SUMMARY, DrivenRow

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.dispatch import Dispatch


class SummaryStatus(StrEnum):
    """The contract's words."""

    PENDING = "PENDING"
    GENERATING = "GENERATING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"


_WORDS = {
    StepStatus.PENDING: SummaryStatus.PENDING,
    StepStatus.CREATING: SummaryStatus.GENERATING,
    StepStatus.ACTIVE: SummaryStatus.COMPLETE,
    StepStatus.FAILED: SummaryStatus.FAILED,
}

UNLESS_GENERATING = (StepStatus.PENDING, StepStatus.ACTIVE, StepStatus.FAILED)
"""What is being made is left to its end: nobody waits for a summary longer because somebody asked again."""

CONTENTS = """
    SELECT d.collection_id, count(*) AS documents,
        to_hex(bit_xor(hashtextextended(d.id || ' ' || d.sha256 || ' ' || coalesce(p.served_generation, 0), 0))) AS hash
    FROM document d LEFT JOIN document_step p ON p.document_id = d.id AND p.kind = 'parse'
    WHERE d.collection_id = ANY(:collections) AND d.status = 'COMPLETE' AND d.deleted_at IS NULL
    GROUP BY d.collection_id
"""
"""What a summary would be made of now: living documents by id, bytes and reading; in any order, so nothing is sorted."""

_HASH = text(f"WITH contents AS ({CONTENTS}) SELECT documents, documents || '-' || hash AS hash FROM contents")
EMPTY_HASH = "0-0"

# The collection is held, so that it is neither deleted nor changed meanwhile; who is late finds the row.
_INSERT = text(
    f"""
    INSERT INTO collection_summary (id, owner, status, generation, observed_generation, dispatch, attempt, failures,
        due_at, lane, traceparent)
    SELECT id, owner, 'PENDING', 1, 0, 1, 0, 0, clock_timestamp() + :first_due, 'bulk', :traceparent FROM (
        SELECT id, owner FROM collection
        WHERE id = ANY(:collections) AND status = 'ACTIVE' AND config @> '{{"enable_summary": true}}'
        ORDER BY id FOR SHARE) AS wanted
    ON CONFLICT (id) DO NOTHING
    RETURNING {ROW_COLUMNS}
    """
)

_REMOVE = text(
    """
    DELETE FROM collection_summary s WHERE s.id = ANY(:collections) AND NOT EXISTS (
        SELECT 1 FROM collection c
        WHERE c.id = s.id AND c.status = 'ACTIVE' AND c.config @> '{"enable_summary": true}')
    """
)


def summary_status(status: str) -> SummaryStatus:
    """Of a driven row's status."""
    return _WORDS[StepStatus(status)]


async def documents_hash(conn: AsyncConnection, collection_id: str) -> tuple[int, str]:
    """How many documents there are, and what stands for them."""
    found = (await conn.execute(_HASH, {"collections": [collection_id]})).one_or_none()
    return (0, EMPTY_HASH) if found is None else (found.documents, found.hash)


async def add(
    conn: AsyncConnection, collections: Sequence[str], *, first_due: timedelta, source: str
) -> list[Dispatch]:
    """Rows of those that want a summary and have none yet; their commands are to be sent after the commit."""
    parameters = {
        "collections": list(collections),
        "first_due": first_due,
        "traceparent": propagate.current_traceparent(),
    }
    rows = await conn.execute(_INSERT, parameters)
    return [SUMMARY.dispatch(DrivenRow(**row._mapping), source=source) for row in rows]


async def remove(conn: AsyncConnection, collections: Sequence[str]) -> int:
    """Rows of those that want none; who works on one finds its fence gone."""
    return (await conn.execute(_REMOVE, {"collections": list(collections)})).rowcount


async def follow(
    conn: AsyncConnection, collection_id: str, *, first_due: timedelta, source: str
) -> tuple[Dispatch, ...]:
    """A person has made or changed the collection, or asks: its summary begins, begins anew, or goes."""
    await remove(conn, [collection_id])
    added = await add(conn, [collection_id], first_due=first_due, source=source)
    renewed = None if added else await renew(conn, collection_id, first_due=first_due, source=source)
    return tuple(added) if renewed is None else (renewed,)


async def renew(conn: AsyncConnection, collection_id: str, *, first_due: timedelta, source: str) -> Dispatch | None:
    """The next generation; None while one is being made, or without a row."""
    return await raise_again(conn, SUMMARY, collection_id, first_due=first_due, source=source, among=UNLESS_GENERATING)
