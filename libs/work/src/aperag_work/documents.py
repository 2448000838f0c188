"""Documents as the aggregate of their jobs: how many jobs of many documents end in one transaction."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from aperag_common.db.models.base import JobStatus
from aperag_common.db.models.workflow import Outcome
from aperag_common.events import facts
from aperag_common.jobs.declared import DOCUMENT
from aperag_common.jobs.steps import StepKind
from aperag_work import transitions
from aperag_work.change import Change
from aperag_work.database import Statement
from aperag_work.derive import JobState
from aperag_work.document_rows import STEP_OF, LockedDocument, details_of, lock_all, step_of
from aperag_work.effects import (
    JOBS_OF,
    OUTCOMES_OF,
    Draft,
    Effects,
    StepEnd,
    apply_effects,
    failed_draft,
    write,
)
from aperag_work.rows import UNLEASED, Dispatch, JobRow, columns_of, unindexed
from aperag_work.waiting import RELEASED, WAITS, fail_waiting, followers

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from aperag_common.events.fact import DocumentFact
    from aperag_work.aggregate import CompletedAttempt, FailedAttempt
    from aperag_work.database import Connection, Record

# All of one kind and direction. What it changes is not visible to its selects: jobs are read but those it completes.
_COMPLETE = Statement(
    "complete jobs of documents",
    f"""
    WITH done AS (
        SELECT * FROM unnest($1::text[], $2::int[], $3::text[], $4::int[], $5::text[])
            AS e(id, generation, token, served, data)
    ), fenced AS (
        UPDATE job j SET status = CASE WHEN j.wanted = 'present' THEN 'ACTIVE' ELSE 'DELETED' END,
            observed_generation = j.generation, {UNLEASED}, due_at = 'infinity',
            error_code = NULL, error_message = NULL, settled_at = clock_timestamp(), updated = clock_timestamp()
        FROM done e WHERE j.id = e.id AND j.generation = e.generation AND j.lease_token = e.token
        RETURNING j.id, j.subject_id, {STEP_OF.format(kind="j.kind")} AS step, j.wanted, j.generation, j.workflow_id,
            e.served, e.data, e.token
    ), serving AS (
        INSERT INTO document_index (document_id, kind, served_generation, data)
        SELECT subject_id, step, coalesce(served, generation), data::jsonb FROM fenced WHERE wanted = 'present'
        ON CONFLICT (document_id, kind) DO UPDATE
            SET served_generation = excluded.served_generation, data = excluded.data
    ), gone AS (
        DELETE FROM document_index i USING fenced f
        WHERE f.wanted = 'absent' AND i.document_id = f.subject_id AND i.kind = f.step
    ), released AS (
        UPDATE job j SET {RELEASED.format(first_due="$6")} FROM fenced f
        WHERE f.wanted = 'present' AND j.subject_id = f.subject_id AND j.kind = ANY($7::text[]) AND {WAITS}
        RETURNING {columns_of("j")}
    ), closed AS (
        UPDATE workflow_step s SET outcome = 'done', finished = clock_timestamp() FROM fenced f
        WHERE s.workflow_id = f.workflow_id AND s.kind = f.step AND s.outcome = 'open'
    )
    SELECT (SELECT coalesce(array_agg(token), '{{}}') FROM fenced) AS tokens,
        (SELECT coalesce(jsonb_agg(jsonb_build_array({columns_of("released")})), '[]') FROM released) AS released,
        {JOBS_OF.format(of="j.subject_id = ANY($8::text[]) AND j.id <> ALL(SELECT id FROM fenced)")} AS others,
        {OUTCOMES_OF.format(of="s.workflow_id IN (SELECT workflow_id FROM fenced)")} AS outcomes
    """,
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a document's job works on: facts of document and collection at the time of the claim.

    ``wanted_model`` is the embedding model that vectors are made for beside the active one's. ``served_generation`` is
    what searches see now, None while the job has never succeeded; ``served`` what the last success left about it.
    """

    name: str
    object_path: str
    sha256: str
    analyzer: str
    active_model: str
    wanted_model: str | None
    served_generation: int | None
    served: dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Completed:
    """The attempts whose fence held, with what the statement that settled their jobs has released and read."""

    attempts: Sequence[CompletedAttempt]
    locked: Mapping[str, LockedDocument]
    read: Record

    @property
    def tokens(self) -> frozenset[str]:
        return frozenset(self.read["tokens"])

    async def apply_effects(self, conn: Connection, *, source: str) -> dict[str, Change]:
        effects = [
            Effects(
                self.locked[it.row.subject_id],
                [StepEnd(it.row.workflow_id or "", step_of(it.row), Outcome.DONE)],
                [Draft(_fact_of(it.row), details_of(it.row))],
                it.traceparent,
            )
            for it in self.attempts
        ]
        applied = await write(conn, effects, self._jobs(), self.read["outcomes"], source=source)
        released: dict[str, list[Dispatch]] = defaultdict(list)
        for row in (JobRow(*values) for values in self.read["released"]):
            released[row.subject_id].append(Dispatch(row, source))
        return {
            it.token: Change(
                tuple(released[it.row.subject_id]),
                done.events,
                it.row.subject_id,
                it.row.workflow_id or "",
                settled=done.ended,
                ended_after=done.ended_after,
            )
            for it, done in zip(self.attempts, applied, strict=True)
        }

    def _jobs(self) -> Mapping[str, Sequence[JobState]]:
        jobs: dict[str, list[JobState]] = defaultdict(list)
        for document_id, *state in self.read["others"]:
            jobs[document_id].append(JobState(*state))
        for row in (it.row for it in self.attempts):
            status = JobStatus.DELETED if row.removing else JobStatus.ACTIVE
            jobs[row.subject_id].append(JobState(row.kind, status, row.generation, row.generation))
        return jobs


class Documents:
    """The aggregate: see ``aperag_work.aggregate``."""

    name = DOCUMENT
    relevant = """AND EXISTS (
        SELECT FROM document d WHERE d.id = j.subject_id AND (j.wanted = 'absent' OR d.deleted_at IS NULL))"""
    # A document turns RUNNING with its first claim. One that is locked stays PENDING until its next claim or end.
    begun = f""", waiting AS (
            SELECT d.id FROM taken CROSS JOIN LATERAL (
                SELECT id FROM document
                WHERE id = taken.subject_id AND {unindexed("status = 'PENDING' AND deleted_at IS NULL")}
                FOR UPDATE SKIP LOCKED
            ) d WHERE taken.status = 'CREATING'
        ), running AS (
            UPDATE document d SET status = 'RUNNING', updated = clock_timestamp()
            FROM waiting WHERE d.id = waiting.id
        )"""
    context_columns = """, d.name, d.object_path, d.sha256, c.analyzer, c.active_model, c.wanted_model,
        i.served_generation, coalesce(i.data, '{}') AS served"""
    context_joins = f"""
        JOIN document d ON d.id = taken.subject_id JOIN collection c ON c.id = d.collection_id
        LEFT JOIN document_index i ON i.document_id = d.id AND i.kind = {STEP_OF.format(kind="taken.kind")}"""

    def context(self, row: Record) -> Subject:
        return Subject(*[row[name] for name in Subject.__dataclass_fields__])

    async def lock(self, conn: Connection, jobs: Sequence[JobRow], *, wait: bool) -> Mapping[str, LockedDocument]:
        return await lock_all(conn, [job.subject_id for job in jobs], wait=wait)

    async def complete(
        self,
        conn: Connection,
        attempts: Sequence[CompletedAttempt],
        locked: Mapping[str, LockedDocument],
        *,
        first_due: timedelta,
    ) -> _Completed:
        living = [e for e in transitions.in_order(attempts) if e.row.removing or not locked[e.row.subject_id].deleted]
        read = await _COMPLETE.row(
            conn,
            [e.row.id for e in living],
            [e.row.generation for e in living],
            [e.token for e in living],
            [e.completion.served.generation for e in living],
            [json.dumps(dict(e.completion.served.data)) for e in living],
            first_due,
            followers(living[0].row.kind) if living else [],
            [e.row.subject_id for e in living],
        )
        assert read is not None  # noqa: S101  # a select without a table answers one row
        tokens = frozenset(read["tokens"])
        return _Completed([e for e in living if e.token in tokens], locked, read)

    async def gave_up(self, conn: Connection, failed: FailedAttempt, subject: LockedDocument, *, source: str) -> Change:
        row = failed.row
        reason = {"code": failed.failure.error_code, "message": failed.failure.message}
        fallen = [] if row.removing else await fail_waiting(conn, [row.subject_id], row.kind, **reason)
        jobs = [row, *fallen]
        closings = [StepEnd(it.workflow_id or "", step_of(it), Outcome.FAILED) for it in jobs]
        # Of a removal the dead letter and the task's end tell: nothing was to be parsed or built.
        drafts = [failed_draft(it, **reason) for it in jobs if not it.removing]
        effects = Effects(subject, closings, drafts, failed.traceparent)
        [applied] = await apply_effects(conn, effects, source=source)
        return Change((), applied.events, row.subject_id, row.workflow_id or "", settled=True)


def _fact_of(row: JobRow) -> type[DocumentFact]:
    if row.removing:
        return facts.IndexRemoved
    return facts.DocumentParsed if row.kind == StepKind.PARSE.job else facts.IndexActivated
