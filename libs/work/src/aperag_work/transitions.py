"""How a generation of a job is wanted, and how an attempt at it ends: statements that are the same for all kinds.

A kind that runs again keeps its lease when its generation is raised: whatever ends such an attempt lets the job begin
anew, with a budget of its own.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeVar

from aperag_common import ids
from aperag_common.db.models.base import JobStatus, Lane
from aperag_common.jobs.kind import REMOVED_AT_ONCE, OnChange, Wanted
from aperag_common.telemetry import propagate
from aperag_work.aggregate import CompletedAttempt
from aperag_work.change import Change
from aperag_work.database import Statement, columns
from aperag_work.policy import LEASE_SLACK, comes_back
from aperag_work.rows import FREE, NAMES, OPEN, UNLEASED, UNSTARTED, Dispatch, JobRow, columns_of, unindexed

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from datetime import timedelta

    from aperag_common.jobs.kind import JobKind
    from aperag_work.aggregate import FailedAttempt
    from aperag_work.database import Connection

_E = TypeVar("_E", bound="CompletedAttempt | FailedAttempt")

ANY_STATUS = tuple(JobStatus)
SETTLED = (JobStatus.ACTIVE, JobStatus.DELETED, JobStatus.FAILED)
FAILED = (JobStatus.FAILED,)


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

# What an end makes of each column: where the job was wanted again meanwhile, and else. ``e`` is the end.
_ENDED = {
    "status": (
        UNSTARTED,
        f"""CASE e.outcome WHEN 'retry' THEN {UNSTARTED} WHEN 'failed' THEN 'FAILED'
            ELSE CASE WHEN j.wanted = 'present' THEN 'ACTIVE' ELSE 'DELETED' END END""",
    ),
    "dispatch": ("1", "CASE WHEN e.outcome = 'retry' AND $13::bool THEN -(abs(j.dispatch) + 1) ELSE j.dispatch END"),
    "due_at": ("clock_timestamp() + $12::interval", "coalesce(clock_timestamp() + e.due, 'infinity')"),
    "attempt": ("0", "j.attempt"),
    "failures": ("0", "coalesce(e.failures, j.failures)"),
    "failed_attempts": (
        "'[]'",
        """CASE WHEN e.code IS NULL THEN j.failed_attempts ELSE j.failed_attempts || jsonb_build_object(
            'attempt', j.attempt, 'worker', j.worker, 'ended', clock_timestamp(), 'code', e.code,
            'message', e.message, 'next_try_at', clock_timestamp() + e.delay) END""",
    ),
    "error_code": ("NULL", "e.code"),
    "error_message": ("NULL", "e.message"),
    "started_at": ("NULL", "j.started_at"),
    "settled_at": ("NULL", "CASE WHEN e.outcome = 'retry' THEN NULL ELSE clock_timestamp() END"),
}

# An end without a token is that of a job whose last worker ended without a word.
_END = Statement(
    "end attempts",
    f"""
    UPDATE job j SET {
        ", ".join(
            f"{column} = CASE WHEN j.generation > e.generation THEN {again} ELSE {new} END"
            for column, (again, new) in _ENDED.items()
        )
    },
        observed_generation = CASE WHEN e.outcome = 'retry' THEN j.observed_generation ELSE e.generation END,
        {UNLEASED}, updated = clock_timestamp()
    FROM unnest($1::text[], $2::int[], $3::text[], $4::text[], $5::int[], $6::int[], $7::interval[], $8::interval[],
            $9::text[], $10::text[]) WITH ORDINALITY
        AS e(id, generation, token, outcome, attempt, failures, due, delay, code, message, position)
    WHERE j.id = e.id AND (j.generation = e.generation OR $11::bool AND j.generation > e.generation)
        AND {unindexed(f"j.{OPEN}")}
        AND (j.lease_token = e.token OR e.token IS NULL AND j.attempt >= e.attempt AND {FREE})
    RETURNING {columns_of("j")}, j.generation > e.generation AS again, j.worker, e.position
    """,
)

_REMOVE = Statement("remove jobs", "DELETE FROM job WHERE id = ANY($1::text[]) RETURNING id")


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
    worker: str | None

    def change(self, source: str) -> Change:
        return Change((Dispatch(self.row, source),) if self.again else (), settled=True)


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
    wishes = [wish if wish.id else replace(wish, id=str(ids.new_job_id())) for wish in wishes]
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


async def end(
    conn: Connection, kind: JobKind, attempts: Sequence[CompletedAttempt | FailedAttempt], *, first_due: timedelta
) -> list[Ended | None]:
    """In the order of ``attempts``; None where generation or lease are not the attempt's any more."""
    if not attempts:
        return []
    ordered = in_order(attempts)
    ends = zip(*(_end_of(kind, it) for it in ordered), strict=True)
    rows = await _END.fetch(conn, *map(list, ends), kind.on_change is OnChange.RUN_AGAIN, first_due, kind.by_due_time)
    ended = {
        ordered[row["position"] - 1]: Ended(JobRow(*row[: len(NAMES)]), row["again"], row["worker"]) for row in rows
    }
    done = [it.row.id for it in ended if isinstance(it, CompletedAttempt)]
    if kind.retention == REMOVED_AT_ONCE and done:
        await _REMOVE.fetch(conn, done)
    return [ended.get(it) for it in attempts]


def in_order(attempts: Iterable[_E]) -> list[_E]:
    """In which a batch locks its jobs; see ``rows.locked``."""
    return sorted(attempts, key=lambda it: it.row.id)


def _end_of(kind: JobKind, it: CompletedAttempt | FailedAttempt) -> tuple[Any, ...]:
    """A row of ``e``."""
    fence = (it.row.id, it.row.generation, it.token)
    if isinstance(it, CompletedAttempt):
        return (*fence, "done", None, None, None, None, None, None)
    why = (it.failure.error_code, it.failure.message)
    if it.delay is None:
        return (*fence, "failed", it.attempt, it.failures, None, None, *why)
    # A nak brings the message back by itself; the job is overdue only when that did not happen.
    due = it.delay + LEASE_SLACK if comes_back(kind, it.delay) else it.delay
    return (*fence, "retry", it.attempt, it.failures, due, it.delay, *why)
