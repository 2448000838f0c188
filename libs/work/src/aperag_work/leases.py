"""Claim, renew and release leases on jobs, a batch with each statement. Times are the database's."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from functools import cache
from typing import TYPE_CHECKING, Any

from aperag_work.database import Statement, columns
from aperag_work.policy import LEASE_SLACK
from aperag_work.rows import FREE, NAMES, OPEN, UNLEASED, UNSTARTED, JobRow, columns_of, locked, unindexed

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_work.aggregate import Aggregate
    from aperag_work.database import Connection
    from aperag_work.policy import WorkPolicy

LAST_WORDS = timedelta(seconds=30)
"""How long before the start of its successor a process may have died."""
LOST_MESSAGE = "The worker ended, or could not renew its lease, while it worked on this."
"""Of an attempt that nobody reported: the next claim finds its lease still there."""

_UNREPORTED = f"""jsonb_build_object('attempt', j.attempt, 'worker', j.lease_owner, 'ended', j.lease_until,
    'code', 'WORKER_LOST', 'message', '{LOST_MESSAGE}', 'next_try_at', NULL)"""

# Whatever the job's generation is by now: a kind that runs again keeps the lease of the attempt under way.
_RENEW = Statement(
    "renew jobs",
    """
    UPDATE job j SET lease_until = clock_timestamp() + $2::interval,
        due_at = clock_timestamp() + $2::interval + $3::interval
    FROM unnest($1::text[], $4::text[]) AS h(token, id) WHERE j.id = h.id AND j.lease_token = h.token
    RETURNING j.lease_token
    """,
)

_RELEASE = Statement(
    "release a job",
    f"""
    UPDATE job SET {UNLEASED}, status = {UNSTARTED}, attempt = attempt - 1,
        due_at = clock_timestamp() + $3::interval, updated = clock_timestamp()
    WHERE id = $1 AND lease_token = $2 RETURNING id
    """,
)

# What a dead process held is free at once: who reaped it says so. The fence decides all the same.
_RELEASE_INCARNATION = Statement(
    "release jobs of a dead process",
    f"""
    UPDATE job j SET failed_attempts = failed_attempts || {_UNREPORTED}, {UNLEASED}, status = {UNSTARTED},
        due_at = clock_timestamp(), updated = clock_timestamp()
    WHERE {locked(f"{OPEN} AND dispatch > 0 AND lease_token LIKE $1 || '%'")} RETURNING id
    """,
)

# Published twice, a job is done once.
_REPEAT_LAST = Statement(
    "publish again what was made ready just now",
    f"""
    UPDATE job SET due_at = clock_timestamp()
    WHERE {
        locked(f'''{OPEN} AND dispatch > 0 AND attempt = 0 AND lease_token IS NULL
        AND due_at < 'infinity' AND updated > clock_timestamp() - $1::interval''')
    }
    RETURNING id
    """,
)

_FIND = Statement(
    "read jobs",
    f"""
    SELECT {columns_of("j")}, j.attempt, j.failures, j.lease_token IS NOT NULL AS leased,
        greatest(extract(epoch FROM j.lease_until - clock_timestamp()), 0)::float AS leased_for
    FROM job j WHERE j.id = ANY($1::text[])
    """,
)


@dataclass(frozen=True, slots=True)
class ClaimRequest:
    """A job that a worker asks for; ``token`` will be its proof."""

    id: str
    generation: int
    token: str


@dataclass(frozen=True, slots=True)
class Lease:
    """A claimed job; ``attempt`` counts this one. ``context`` are facts of its subject at the time of the claim."""

    row: JobRow
    token: str
    attempt: int
    failures: int
    context: Any = None


@dataclass(frozen=True, slots=True)
class Unclaimed:
    """Why a job could not be claimed: ``leased_for`` is the rest of another worker's lease in seconds."""

    row: JobRow
    attempt: int
    failures: int
    leased: bool
    leased_for: float


def _claim(aggregate: Aggregate) -> Statement:
    return _claiming(aggregate.relevant, aggregate.begun, aggregate.context_columns, aggregate.context_joins)


@cache
def _claiming(relevant: str, begun: str, context_columns: str, context_joins: str) -> Statement:
    """One statement and so one round trip, however many jobs.

    It waits for no lock: others lock documents before jobs, and one after the other. A job that is locked is about to
    change, and is asked for again a moment later. A job that was asked for twice goes to one of the two tokens; a token
    that already has the lease (the answer to its first asking was lost) keeps it.
    """
    return Statement(
        "claim jobs",
        f"""
        WITH asked AS (
            SELECT * FROM unnest($1::text[], $2::int[], $3::text[]) AS a(id, generation, token)
        ), free AS (
            SELECT j.id, a.token FROM asked a JOIN job j ON j.id = a.id AND j.generation = a.generation
            WHERE {unindexed(f"j.{OPEN}")} AND (j.lease_token = a.token OR j.attempt < $4::int AND {FREE}) {relevant}
            FOR UPDATE OF j SKIP LOCKED
        ), taken AS (
            UPDATE job j SET
                status = CASE WHEN j.wanted = 'present' THEN 'CREATING' ELSE 'DELETION_IN_PROGRESS' END,
                attempt = j.attempt + CASE WHEN j.lease_token = free.token THEN 0 ELSE 1 END,
                lease_token = free.token, lease_owner = $5::text, worker = $5::text,
                failed_attempts = CASE WHEN j.lease_token IS NULL OR j.lease_token = free.token THEN j.failed_attempts
                    ELSE j.failed_attempts || {_UNREPORTED} END,
                lease_until = clock_timestamp() + $6::interval,
                due_at = clock_timestamp() + $6::interval + $7::interval,
                started_at = coalesce(j.started_at, clock_timestamp()), updated = clock_timestamp()
            FROM free WHERE j.id = free.id
            RETURNING {columns_of("j")}, j.attempt, j.failures, j.lease_token
        ) {begun}
        SELECT taken.* {context_columns} FROM taken {context_joins}
        """,
    )


async def claim(
    conn: Connection, asked: Sequence[ClaimRequest], aggregate: Aggregate, policy: WorkPolicy, *, owner: str
) -> list[Lease | None]:
    """In the order asked; None where a job is settled, superseded, leased, irrelevant or out of attempts."""
    arguments = (*columns(asked, "id", "generation", "token"), policy.max_attempts, owner, policy.lease, LEASE_SLACK)
    leases = {
        row["lease_token"]: Lease(
            JobRow(*row[: len(NAMES)]), row["lease_token"], row["attempt"], row["failures"], aggregate.context(row)
        )
        for row in await _claim(aggregate).fetch(conn, *arguments)
    }
    return [leases.get(it.token) for it in asked]


async def find(conn: Connection, ids: Sequence[str]) -> dict[str, Unclaimed]:
    """Those that exist, by id."""
    rows = await _FIND.fetch(conn, list(ids))
    return {
        row["id"]: Unclaimed(
            JobRow(*row[: len(NAMES)]), row["attempt"], row["failures"], row["leased"], row["leased_for"]
        )
        for row in rows
    }


async def renew(conn: Connection, leases: Sequence[Lease], policy: WorkPolicy) -> set[str]:
    """The tokens that still hold."""
    leases = sorted(leases, key=lambda it: it.row.id)
    ids = [it.row.id for it in leases]
    rows = await _RENEW.fetch(conn, [it.token for it in leases], policy.lease, LEASE_SLACK, ids)
    return {row[0] for row in rows}


async def release(conn: Connection, lease: Lease, due: timedelta = LEASE_SLACK) -> bool:
    """Give it back before its end; this attempt is not counted. False where the lease was gone already."""
    return await _RELEASE.count(conn, lease.row.id, lease.token, due) > 0


async def release_incarnation(conn: Connection, incarnation: str) -> int:
    """Free what a process held that is known to be dead; how many jobs. The attempt counts: it may have killed it."""
    return await _RELEASE_INCARNATION.count(conn, incarnation)


async def repeat_last(conn: Connection) -> int:
    """A process has died, maybe between a commit and the publish of what that made ready: such jobs are due now."""
    return await _REPEAT_LAST.count(conn, LAST_WORDS)
