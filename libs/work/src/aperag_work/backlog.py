"""How much work is open, in which state and for how long: what operators see of all jobs at once."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common.db.models.base import OPEN_SQL
from aperag_common.events import facts
from aperag_common.jobs.declared import COLLECTION_SUMMARY, PARSE
from aperag_common.jobs.kind import Wanted, kind_of
from aperag_common.services import Service

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


@dataclass(frozen=True, slots=True)
class Took:
    """Seconds from the first claim of a job to its end: of half of them no more than ``p50``, of 95 % than ``p95``."""

    p50: float
    p95: float


MOST_MEASURED = 5_000
"""Jobs that ``took`` looks at, the newest: enough for a percentile, and quickly read however busy the last minutes were."""

# The partial indexes of open jobs decide what this costs: settled jobs, however many, are never read.
STATE = """
    CASE WHEN due_at = 'infinity' THEN 'blocked' WHEN dispatch < 0 AND failures > 0 AND lease_token IS NULL THEN 'retrying' WHEN dispatch <= 0 THEN 'waiting'
        WHEN lease_until > clock_timestamp() THEN 'running' WHEN lease_token IS NOT NULL THEN 'worker_lost'
        WHEN failures > 0 THEN 'retrying' ELSE 'queued' END
"""
_OPEN = text(
    f"""
    SELECT kind, wanted, {STATE} AS state, lane, count(*) AS rows,
        greatest(extract(epoch FROM clock_timestamp()
            - min(CASE WHEN lease_token IS NULL THEN updated ELSE started_at END)), 0)::float AS oldest_seconds
    FROM job WHERE status IN {OPEN_SQL} GROUP BY 1, 2, 3, 4 ORDER BY 1, 2, 3, 4
    """
)

# A removal that failed stands here until its tombstone goes, minutes later.
_FAILED = text("SELECT kind, wanted, count(*) AS rows FROM job WHERE status = 'FAILED' GROUP BY 1, 2")

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
        (SELECT coalesce(extract(epoch FROM clock_timestamp() - min(due_at)), 0)::float FROM job
         WHERE status IN {OPEN_SQL} AND due_at <= clock_timestamp() AND dispatch > 0) AS oldest_due_seconds,
        (SELECT count(*) FROM fresh) + (SELECT count(*) FROM outbox WHERE epoch < (
            SELECT epoch FROM stream_epoch WHERE stream = 'APERAG_EVENTS')) AS unrelayed_events,
        (SELECT coalesce(greatest(extract(epoch FROM clock_timestamp() - min(created)), 0), 0)::float FROM fresh)
            AS oldest_unrelayed_seconds,
        (SELECT count(*) FROM dead_letter WHERE redriven_at IS NULL) AS open_dead_letters
    """
)

# Every job of a document that ends leaves one event, and the outbox is indexed by time: jobs need no such index.
# now(), unlike clock_timestamp(), lets PostgreSQL use that index.
_SETTLED = text(
    """
    WITH ended AS (
        SELECT split_part(subject, '.', 4) || '.' || split_part(subject, '.', 5) AS fact, payload -> 'data' AS data
        FROM outbox WHERE created > now() - CAST(:window AS interval)
    )
    SELECT fact, data ->> 'kind' AS step, count(*) FILTER (WHERE fact NOT LIKE '%failed') AS done,
        count(*) FILTER (WHERE fact LIKE '%failed') AS failed
    FROM ended
    WHERE fact IN ('document.parsed', 'document.parse_failed', 'index.activated', 'index.failed', 'index.removed',
            'collection.summarized')
        AND data ->> 'error_code' IS DISTINCT FROM 'CANCELLED'
    GROUP BY 1, 2
    """
)


# Found by their events too. One that was wanted anew since has no end any more.
_TOOK = text(
    f"""
    WITH ended AS (
        SELECT split_part(subject, '.', 4) || '.' || split_part(subject, '.', 5) AS fact, payload -> 'data' AS data
        FROM outbox WHERE created > now() - CAST(:window AS interval) ORDER BY created DESC LIMIT {MOST_MEASURED}
    ), named AS (
        SELECT DISTINCT data ->> 'document_id' AS subject_id,
            CASE WHEN fact IN ('document.parsed', 'document.parse_failed', 'index.removed') THEN 'parse'
                ELSE 'index.' || (data ->> 'kind') END AS kind
        FROM ended
        WHERE fact IN ('document.parsed', 'document.parse_failed', 'index.activated', 'index.failed', 'index.removed')
    ), measured AS (
        SELECT j.kind, j.wanted, extract(epoch FROM j.settled_at - j.started_at)::float AS seconds
        FROM named n JOIN job j ON j.subject_id = n.subject_id AND j.kind = n.kind
        WHERE j.settled_at > now() - CAST(:window AS interval) AND j.started_at IS NOT NULL
    )
    SELECT kind, wanted, percentile_cont(0.5) WITHIN GROUP (ORDER BY seconds) AS p50,
        percentile_cont(0.95) WITHIN GROUP (ORDER BY seconds) AS p95
    FROM measured GROUP BY kind, wanted
    """
)


_WEBHOOKS = text("SELECT EXISTS (SELECT id FROM webhook_endpoint)")


async def needed(conn: AsyncConnection) -> frozenset[Service]:
    """Services that have something to do: where there is no webhook, nobody need look at events for any."""
    has_webhooks = bool((await conn.execute(_WEBHOOKS)).scalar_one())
    return frozenset(Service) if has_webhooks else frozenset(Service) - {Service.WEBHOOKS}


def consumer_of(kind: str, wanted: str) -> str:
    """The consumer whose jobs these are; the kind's own name where this version does not know it any more."""
    try:
        return kind_of(kind).work(wanted).consumer
    except (KeyError, ValueError):
        return kind


async def open_work(conn: AsyncConnection) -> list[OpenWork]:
    """One entry per consumer, state and lane that has jobs."""
    summed: dict[tuple[str, str, str], OpenWork] = {}
    for row in await conn.execute(_OPEN):
        key = (consumer_of(row.kind, row.wanted), row.state, row.lane)
        before = summed.get(key, OpenWork(*key, 0, 0.0))
        oldest = max(before.oldest_seconds, row.oldest_seconds)
        summed[key] = OpenWork(*key, before.rows + row.rows, oldest)
    return [summed[key] for key in sorted(summed)]


async def failed_work(conn: AsyncConnection) -> dict[str, int]:
    """How many jobs each consumer gave up, as they stand now."""
    found: Counter[str] = Counter()
    for row in await conn.execute(_FAILED):
        found[consumer_of(row.kind, row.wanted)] += row.rows
    return dict(found)


async def open_tasks(conn: AsyncConnection) -> list[OpenTasks]:
    return [OpenTasks(**row._mapping) for row in await conn.execute(_TASKS)]


async def totals(conn: AsyncConnection) -> Totals:
    return Totals(**(await conn.execute(_TOTALS)).one()._mapping)


async def settled(conn: AsyncConnection, window: timedelta) -> dict[str, Settled]:
    """What each consumer ended during ``window``, which reaches back no further than events are kept."""
    found: dict[str, Settled] = {}
    for row in await conn.execute(_SETTLED, {"window": window}):
        consumer = _consumer_of_fact(row.fact, row.step)
        before = found.get(consumer, Settled(0, 0))
        found[consumer] = Settled(before.done + row.done, before.failed + row.failed)
    return found


async def took(conn: AsyncConnection, window: timedelta) -> dict[str, Took]:
    """How long jobs of documents took that ended during ``window``, by consumer."""
    rows = await conn.execute(_TOOK, {"window": window})
    return {consumer_of(row.kind, row.wanted): Took(row.p50, row.p95) for row in rows}


def _consumer_of_fact(fact: str, step: str | None) -> str:
    if fact == facts.CollectionSummarized.type_name:
        return consumer_of(COLLECTION_SUMMARY.name, Wanted.PRESENT)
    if fact == facts.IndexRemoved.type_name:
        return consumer_of(PARSE.name, Wanted.ABSENT)
    kind = PARSE.name if fact.startswith("document.") else f"index.{step}"
    return consumer_of(kind, Wanted.PRESENT)
