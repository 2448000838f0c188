"""How a generation of a job is wanted, and how an attempt at it ends: statements that are the same for all kinds.

A kind that runs again keeps its lease when its generation is raised: whatever ends such an attempt lets the job begin
anew, with a budget of its own.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from aperag_common import ids
from aperag_common.db.models.base import JobStatus, Lane
from aperag_common.jobs.kind import REMOVED_AT_ONCE, OnChange, Wanted
from aperag_common.telemetry import propagate
from aperag_work.database import Statement, columns
from aperag_work.rows import FREE, NAMES, OPEN, UNLEASED, JobRow, columns_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from aperag_common.jobs.kind import JobKind
    from aperag_work.aggregate import CompletedAttempt, FailedAttempt
    from aperag_work.database import Connection

_E = TypeVar("_E", "CompletedAttempt", "FailedAttempt")

ANY_STATUS = tuple(JobStatus)
SETTLED = (JobStatus.ACTIVE, JobStatus.DELETED, JobStatus.FAILED)
FAILED = (JobStatus.FAILED,)

_UNSTARTED = "CASE WHEN j.wanted = 'present' THEN 'PENDING' ELSE 'DELETING' END"


def _unless_leased(column: str, new: str) -> str:
    """``$9`` says that the kind runs again: an attempt under way keeps what it has."""
    held = "$9::bool AND j.lease_token IS NOT NULL AND j.lease_until > clock_timestamp()"
    return f"{column} = CASE WHEN {held} THEN j.{column} ELSE {new} END"


_RESET = ", ".join(
    _unless_leased(column, new)
    for column, new in {
        "wanted": "excluded.wanted",
        "status": "excluded.status",
        "lane": "excluded.lane",
        "workflow_id": "excluded.workflow_id",
        "dispatch": "excluded.dispatch",
        "due_at": "excluded.due_at",
        "attempt": "0",
        "failures": "0",
        "lease_token": "NULL",
        "lease_owner": "NULL",
        "lease_until": "NULL",
        "worker": "NULL",
        "failed_attempts": "'[]'",
        "error_code": "NULL",
        "error_message": "NULL",
        "started_at": "NULL",
        "settled_at": "NULL",
    }.items()
)

# The next generation, or the first one. Whoever holds an older generation is fenced off, unless the kind runs again.
# Jobs that are there are raised in the order of their ids (see ``rows.locked``), new ones made in the order asked.
_WANT = Statement(
    "want jobs",
    f"""
    INSERT INTO job AS j (id, kind, subject_id, collection_id, owner, workflow_id, wanted, status, lane, dispatch,
        due_at, traceparent)
    SELECT w.id, w.kind, w.subject_id, w.collection_id, w.owner, w.workflow_id, $1::text,
        CASE WHEN $1::text = 'present' THEN 'PENDING' ELSE 'DELETING' END, $2::text, w.dispatch,
        CASE WHEN w.waits THEN 'infinity' WHEN w.dispatch > 0 THEN clock_timestamp() + $3::interval
            ELSE clock_timestamp() END, coalesce(w.traceparent, $4::text)
    FROM unnest($5::text[], $6::text[], $7::text[], $8::text[], $10::text[], $11::text[], $12::int[], $13::bool[],
        $16::text[]) WITH ORDINALITY
        AS w(id, kind, subject_id, collection_id, owner, workflow_id, dispatch, waits, traceparent, position)
    LEFT JOIN job before ON before.subject_id = w.subject_id AND before.kind = w.kind
    ORDER BY before.id, w.position
    ON CONFLICT (subject_id, kind) DO UPDATE SET generation = j.generation + 1, traceparent = excluded.traceparent,
        updated = clock_timestamp(), {_RESET}
    WHERE j.status = ANY($14::text[]) AND j.generation = coalesce($15::int, j.generation)
    RETURNING {columns_of("j")}, j.lease_token IS NOT NULL AS leased
    """,
)

_BEGINS_ANEW = f"""
    dispatch = CASE WHEN j.generation > e.generation THEN 1 ELSE j.dispatch END,
    attempt = CASE WHEN j.generation > e.generation THEN 0 ELSE j.attempt END,
    started_at = CASE WHEN j.generation > e.generation THEN NULL ELSE j.started_at END,
    observed_generation = e.generation, {UNLEASED}, updated = clock_timestamp()
"""
_IS_FENCED = "j.id = e.id AND (j.generation = e.generation OR $4::bool AND j.generation > e.generation)"

_COMPLETE = Statement(
    "complete jobs",
    f"""
    UPDATE job j SET
        status = CASE WHEN j.generation > e.generation THEN {_UNSTARTED} WHEN j.wanted = 'present' THEN 'ACTIVE'
            ELSE 'DELETED' END,
        failures = CASE WHEN j.generation > e.generation THEN 0 ELSE j.failures END,
        failed_attempts = CASE WHEN j.generation > e.generation THEN '[]' ELSE j.failed_attempts END,
        due_at = CASE WHEN j.generation > e.generation THEN clock_timestamp() + $5::interval ELSE 'infinity' END,
        settled_at = CASE WHEN j.generation > e.generation THEN NULL ELSE clock_timestamp() END,
        error_code = NULL, error_message = NULL, {_BEGINS_ANEW}
    FROM unnest($1::text[], $2::int[], $3::text[]) AS e(id, generation, token)
    WHERE {_IS_FENCED} AND j.lease_token = e.token
    RETURNING {columns_of("j")}, e.token, j.generation > e.generation AS again
    """,
)

_REMOVE = Statement("remove jobs", "DELETE FROM job WHERE id = ANY($1::text[]) RETURNING id")


def noted(*, next_try_at: str, code: str, message: str) -> str:
    """A failed attempt, added to those of this generation; what an operator reads later."""
    return f"""j.failed_attempts || jsonb_build_object('attempt', j.attempt, 'worker', j.worker,
        'ended', clock_timestamp(), 'code', {code}, 'message', {message}, 'next_try_at', {next_try_at})"""


_RETRY = Statement(
    "retry jobs",
    f"""
    UPDATE job j SET status = {_UNSTARTED},
        failures = CASE WHEN j.generation > e.generation THEN 0 ELSE e.failures END,
        failed_attempts = CASE WHEN j.generation > e.generation THEN '[]'
            ELSE {noted(next_try_at="clock_timestamp() + e.delay", code="e.code", message="e.message")} END,
        due_at = clock_timestamp() + CASE WHEN j.generation > e.generation THEN $5::interval ELSE e.due END,
        error_code = CASE WHEN j.generation > e.generation THEN NULL ELSE e.code END,
        error_message = CASE WHEN j.generation > e.generation THEN NULL ELSE e.message END,
        started_at = CASE WHEN j.generation > e.generation THEN NULL ELSE j.started_at END,
        dispatch = CASE WHEN j.generation > e.generation THEN 1 WHEN $11::bool THEN -(abs(j.dispatch) + 1)
            ELSE j.dispatch END,
        attempt = CASE WHEN j.generation > e.generation THEN 0 ELSE j.attempt END, {UNLEASED},
        updated = clock_timestamp()
    FROM unnest($1::text[], $2::int[], $3::text[], $6::int[], $7::interval[], $8::interval[], $9::text[], $10::text[])
        AS e(id, generation, token, failures, due, delay, code, message)
    WHERE {_IS_FENCED} AND j.lease_token = e.token
    RETURNING {columns_of("j")}, e.token, j.generation > e.generation AS again
    """,
)

_GIVE_UP = Statement(
    "give up a job",
    f"""
    UPDATE job j SET status = CASE WHEN j.generation > e.generation THEN {_UNSTARTED} ELSE 'FAILED' END,
        failures = CASE WHEN j.generation > e.generation THEN 0 ELSE $6::int END,
        failed_attempts = CASE WHEN j.generation > e.generation THEN '[]'
            ELSE {noted(next_try_at="NULL", code="$7::text", message="$8::text")} END,
        due_at = CASE WHEN j.generation > e.generation THEN clock_timestamp() + $5::interval ELSE 'infinity' END,
        settled_at = CASE WHEN j.generation > e.generation THEN NULL ELSE clock_timestamp() END,
        error_code = CASE WHEN j.generation > e.generation THEN NULL ELSE $7::text END,
        error_message = CASE WHEN j.generation > e.generation THEN NULL ELSE $8::text END, {_BEGINS_ANEW}
    FROM (SELECT $1::text AS id, $2::int AS generation) AS e
    WHERE {_IS_FENCED} AND j.{OPEN}
        AND (j.lease_token = $3::text OR ($3::text IS NULL AND j.attempt >= $9::int AND {FREE}))
    RETURNING {columns_of("j")}, j.worker, j.generation > e.generation AS again
    """,
)


@dataclass(frozen=True, slots=True)
class Wish:
    """A subject that somebody wants a generation of; ``waits``: for a job before it, and is published by its end.

    ``traceparent`` is its own, where not all that are wanted together belong to one trace.
    """

    kind: str
    subject_id: str
    owner: str
    collection_id: str | None = None
    workflow_id: str | None = None
    dispatch: int = 1
    waits: bool = False
    id: str = ""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True)
class Ended:
    """An attempt that has ended; ``again``: the job was wanted again meanwhile, and its command is to be sent."""

    row: JobRow
    again: bool
    worker: str | None = None


async def want(
    conn: Connection,
    kind: JobKind,
    wishes: Sequence[Wish],
    *,
    wanted: Wanted = Wanted.PRESENT,
    lane: Lane = Lane.BULK,
    first_due: timedelta,
    among: Sequence[str] = ANY_STATUS,
    generation: int | None = None,
    traceparent: str | None = None,
) -> list[tuple[JobRow, bool]]:
    """The jobs of this generation, and whether each is leased: then the attempt under way lets it run again.

    A job that is in none of the states ``among`` (or, where given, no longer at ``generation``) is left as it is, and
    absent. Commands of those that are not leased are to be sent after the commit.
    """
    wishes = [wish if wish.id else _named(wish) for wish in wishes]
    rows = await _WANT.fetch(
        conn,
        wanted.value,
        lane.value,
        first_due,
        traceparent or propagate.current_traceparent(),
        *columns(wishes, "id", "kind", "subject_id", "collection_id"),
        kind.on_change is OnChange.RUN_AGAIN,
        *columns(wishes, "owner", "workflow_id", "dispatch", "waits"),
        list(among),
        generation,
        [wish.traceparent for wish in wishes],
    )
    return [(JobRow(*row[: len(NAMES)]), row["leased"]) for row in rows]


def _named(wish: Wish) -> Wish:
    values = {name: getattr(wish, name) for name in Wish.__dataclass_fields__}
    return Wish(**{**values, "id": str(ids.new_job_id())})


async def complete(
    conn: Connection, kind: JobKind, attempts: Sequence[CompletedAttempt], *, first_due: timedelta
) -> list[Ended | None]:
    """In the order of ``attempts``; None where generation or lease are not the attempt's any more."""
    rows = await _COMPLETE.fetch(conn, *_fence(in_order(attempts)), kind.on_change is OnChange.RUN_AGAIN, first_due)
    ended = {row["token"]: Ended(JobRow(*row[: len(NAMES)]), row["again"]) for row in rows}
    if kind.retention == REMOVED_AT_ONCE and ended:
        await _REMOVE.fetch(conn, [it.row.id for it in ended.values()])
    return [ended.get(ending.token) for ending in attempts]


async def retry(
    conn: Connection,
    kind: JobKind,
    failing: Sequence[FailedAttempt],
    delays: Sequence[tuple[timedelta, timedelta]],
    *,
    first_due: timedelta,
) -> list[Ended | None]:
    """``delays`` are those until the next attempt, and until the job counts as lost."""
    delay_of = {it.token: delay for it, delay in zip(failing, delays, strict=True)}
    ordered = in_order(failing)
    rows = await _RETRY.fetch(
        conn,
        *_fence(ordered),
        kind.on_change is OnChange.RUN_AGAIN,
        first_due,
        [it.failures for it in ordered],
        [delay_of[it.token][1] for it in ordered],
        [delay_of[it.token][0] for it in ordered],
        [it.failure.error_code for it in ordered],
        [it.failure.message for it in ordered],
        kind.by_due_time,
    )
    ended = {row["token"]: Ended(JobRow(*row[: len(NAMES)]), row["again"]) for row in rows}
    return [ended.get(it.token or "") for it in failing]


async def give_up(conn: Connection, kind: JobKind, failing: FailedAttempt, *, first_due: timedelta) -> Ended | None:
    row = await _GIVE_UP.row(
        conn,
        failing.row.id,
        failing.row.generation,
        failing.token,
        kind.on_change is OnChange.RUN_AGAIN,
        first_due,
        failing.failures,
        failing.failure.error_code,
        failing.failure.message,
        failing.attempt,
    )
    return None if row is None else Ended(JobRow(*row[: len(NAMES)]), row["again"], row["worker"])


def in_order(attempts: Iterable[_E]) -> list[_E]:
    """In which a batch locks its jobs; see ``rows.locked``."""
    return sorted(attempts, key=lambda it: it.row.id)


def _fence(
    attempts: Sequence[CompletedAttempt] | Sequence[FailedAttempt],
) -> tuple[list[str], list[int], list[str | None]]:
    return (
        [it.row.id for it in attempts],
        [it.row.generation for it in attempts],
        [it.token for it in attempts],
    )
