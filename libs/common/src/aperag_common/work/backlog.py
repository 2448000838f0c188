"""How much work is open, in which state and for how long: what operators see of all driven rows at once."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection


class WorkState(StrEnum):
    """What an open row waits for, or that it is being worked on."""

    WAITING = "waiting"
    BLOCKED = "blocked"
    QUEUED = "queued"
    RUNNING = "running"
    RETRYING = "retrying"
    WORKER_LOST = "worker_lost"


@dataclass(frozen=True, slots=True)
class OpenWork:
    """``oldest_seconds``: how long the longest-standing row has been in this state, or at work."""

    consumer: str
    state: str
    lane: str
    rows: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class OpenTasks:
    kind: str
    tasks: int
    oldest_seconds: float


@dataclass(frozen=True, slots=True)
class Totals:
    """``oldest_due_seconds``: how long the longest-due published row has waited for its re-drive.

    ``unrelayed_events`` include those of a wiped stream that are relayed again, ``oldest_unrelayed_seconds`` does not.
    """

    oldest_due_seconds: float
    unrelayed_events: int
    oldest_unrelayed_seconds: float
    open_dead_letters: int


@dataclass(frozen=True, slots=True)
class Settled:
    """Steps that ended in the time asked for; what a person cancelled is neither done nor failed."""

    done: int
    failed: int


# The partial indexes of open rows decide what this costs: settled rows, however many, are never read.
_STATE = """
    CASE WHEN due_at = 'infinity' THEN 'blocked' WHEN dispatch = 0 THEN 'waiting'
        WHEN lease_until > clock_timestamp() THEN 'running' WHEN lease_token IS NOT NULL THEN 'worker_lost'
        WHEN failures > 0 THEN 'retrying' ELSE 'queued' END
"""


def _open(table: str, consumer: str) -> str:
    return f"""
        SELECT {consumer} AS consumer, {_STATE} AS state, lane, count(*) AS rows,
            greatest(extract(epoch FROM clock_timestamp()
                - min(CASE WHEN lease_token IS NULL THEN updated ELSE started_at END)), 0)::float AS oldest_seconds
        FROM {table} WHERE status IN {OPEN_SQL} GROUP BY 1, 2, 3
    """


_STEP_CONSUMER = """
    CASE WHEN status IN ('DELETING', 'DELETION_IN_PROGRESS') THEN 'indexer-remove' ELSE 'indexer-' || kind END
"""
_OPEN = text(
    f"""
    {_open("document_step", _STEP_CONSUMER)}
    UNION ALL {_open("collection_purge", "'reconciler-purge'")}
    UNION ALL {_open("user_purge", "'reconciler-user-purge'")}
    UNION ALL {_open("collection_summary", "'indexer-summarize'")}
    UNION ALL {_open("turn", "'agent-turn'")}
    ORDER BY consumer, state, lane
    """
)

# A removal that failed stands here under its kind until its tombstone goes, minutes later.
_FAILED = text(
    """
    SELECT 'indexer-' || kind AS consumer, count(*) AS rows FROM document_step WHERE status = 'FAILED' GROUP BY kind
    UNION ALL SELECT 'reconciler-purge', count(*) FROM collection_purge WHERE status = 'FAILED'
    UNION ALL SELECT 'reconciler-user-purge', count(*) FROM user_purge WHERE status = 'FAILED'
    UNION ALL SELECT 'indexer-summarize', count(*) FROM collection_summary WHERE status = 'FAILED'
    UNION ALL SELECT 'agent-turn', count(*) FROM turn WHERE status = 'FAILED'
    """
)

_TASKS = text(
    """
    SELECT kind, count(*) AS tasks, extract(epoch FROM clock_timestamp() - min(created))::float AS oldest_seconds
    FROM workflow WHERE finished IS NULL GROUP BY kind
    """
)

# Materialized: else the smallest ``created`` would be looked for along its index, past every relayed event.
_TOTALS = text(
    f"""
    WITH fresh AS MATERIALIZED (SELECT created FROM outbox WHERE epoch IS NULL)
    SELECT
        (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)::float FROM document_step
         WHERE status IN {OPEN_SQL} AND due_at <= clock_timestamp() AND dispatch > 0) AS oldest_due_seconds,
        (SELECT count(*) FROM fresh) + (SELECT count(*) FROM outbox WHERE epoch < (
            SELECT epoch FROM stream_epoch WHERE stream = 'APERAG_EVENTS')) AS unrelayed_events,
        (SELECT coalesce(greatest(extract(epoch FROM clock_timestamp() - min(created)), 0), 0)::float FROM fresh)
            AS oldest_unrelayed_seconds,
        (SELECT count(*) FROM dead_letter WHERE redriven_at IS NULL) AS open_dead_letters
    """
)

# Every step that ends leaves one event, and the outbox is indexed by time: the steps themselves need no such index.
# now(), unlike clock_timestamp(), lets PostgreSQL use that index.
_SETTLED = text(
    """
    WITH ended AS (
        SELECT split_part(subject, '.', 4) || '.' || split_part(subject, '.', 5) AS fact, payload -> 'data' AS data
        FROM outbox WHERE created > now() - CAST(:window AS interval)
    )
    SELECT CASE fact WHEN 'document.parsed' THEN 'indexer-parse' WHEN 'document.parse_failed' THEN 'indexer-parse'
            WHEN 'index.removed' THEN 'indexer-remove' WHEN 'collection.summarized' THEN 'indexer-summarize'
            ELSE 'indexer-' || (data ->> 'kind') END AS consumer,
        count(*) FILTER (WHERE fact NOT IN ('document.parse_failed', 'index.failed')) AS done,
        count(*) FILTER (WHERE fact IN ('document.parse_failed', 'index.failed')) AS failed
    FROM ended
    WHERE fact IN ('document.parsed', 'document.parse_failed', 'index.activated', 'index.failed', 'index.removed',
            'collection.summarized')
        AND data ->> 'error_code' IS DISTINCT FROM 'CANCELLED'
    GROUP BY 1
    """
)


async def open_work(conn: AsyncConnection) -> list[OpenWork]:
    """One entry per consumer, state and lane that has rows."""
    return [OpenWork(**row._mapping) for row in await conn.execute(_OPEN)]


async def failed_work(conn: AsyncConnection) -> dict[str, int]:
    """How many rows each consumer gave up, as they stand now."""
    return {row.consumer: row.rows for row in await conn.execute(_FAILED) if row.rows}


async def open_tasks(conn: AsyncConnection) -> list[OpenTasks]:
    return [OpenTasks(**row._mapping) for row in await conn.execute(_TASKS)]


async def totals(conn: AsyncConnection) -> Totals:
    return Totals(**(await conn.execute(_TOTALS)).one()._mapping)


async def settled(conn: AsyncConnection, window: timedelta) -> dict[str, Settled]:
    """What each consumer ended during ``window``, which reaches back no further than events are kept."""
    rows = await conn.execute(_SETTLED, {"window": window})
    return {row.consumer: Settled(row.done, row.failed) for row in rows}
