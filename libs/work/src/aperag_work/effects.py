"""What follows from the jobs of a document: its state, its workflows' ends, the events that tell of both.

Whoever ends a job holds its document's lock, which makes "the last open job" well defined: the workflow is closed, and
its end published, exactly once.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from aperag_common.db.models.document import DocumentStatus
from aperag_common.db.models.workflow import Outcome, WorkflowStatus
from aperag_common.events import facts
from aperag_common.events.fact import DocumentData
from aperag_common.jobs.steps import StepKind
from aperag_common.telemetry import propagate
from aperag_work import derive, outbox
from aperag_work.database import Statement, driver
from aperag_work.document_rows import LockedDocument, details_of
from aperag_work.rows import JobRow, unindexed

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.events.envelope import Message
    from aperag_common.events.fact import DocumentFact
    from aperag_work.database import Connection

JOBS_OF = """(SELECT coalesce(jsonb_agg(jsonb_build_array(
        j.subject_id, j.kind, j.status, j.generation, j.observed_generation, j.error_code, j.error_message)), '[]')
        FROM job j WHERE {of})"""
OUTCOMES_OF = f"""(SELECT coalesce(jsonb_agg(jsonb_build_array(s.workflow_id, s.kind, s.outcome)), '[]')
        FROM workflow_step s JOIN workflow w ON w.id = s.workflow_id
        WHERE {unindexed("w.status = 'RUNNING'")} AND {{of}})"""
"""Columns of a select whose statement also changes these rows: the changes are not visible to it. ``_ended`` lays
the closed steps over what was read; a job's end is for the caller to lay over.
"""

_CLOSE_AND_READ = Statement(
    "close workflow steps",
    f"""
    WITH closed AS (
        UPDATE workflow_step s SET outcome = c.outcome, finished = clock_timestamp()
        FROM unnest($1::text[], $2::text[], $3::text[]) AS c(workflow_id, kind, outcome)
        WHERE s.workflow_id = c.workflow_id AND s.kind = c.kind AND s.outcome = 'open'
    )
    SELECT {JOBS_OF.format(of="j.subject_id = ANY($4::text[])")} AS jobs,
        {OUTCOMES_OF.format(of="s.workflow_id = ANY($1::text[])")} AS outcomes
    """,
)


_INSERT_EVENTS = outbox.INSERTED.format(ids="$6", subjects="$7", payloads="$8", traceparents="$9")


_WRITE = Statement(
    "write documents and workflows",
    f"""
    WITH stated AS (
        UPDATE document d SET status = n.status, revision = n.revision, updated = clock_timestamp()
        FROM unnest($1::text[], $2::text[], $3::int[]) AS n(id, status, revision) WHERE d.id = n.id
    ), ended AS (
        UPDATE workflow w SET status = e.status, finished = clock_timestamp()
        FROM unnest($4::text[], $5::text[]) AS e(id, status) WHERE w.id = e.id
        RETURNING w.document_id, w.kind, w.status, extract(epoch FROM clock_timestamp() - w.created)::float AS seconds
    ), told AS ({_INSERT_EVENTS})
    SELECT document_id, seconds FROM ended WHERE status = 'SUCCESS' AND kind <> 'delete'
    """,
)


_END_OF: Mapping[WorkflowStatus, type[DocumentFact]] = {
    WorkflowStatus.SUCCESS: facts.DocumentIndexed,
    WorkflowStatus.PARTIAL: facts.DocumentIndexed,
    WorkflowStatus.FAILED: facts.DocumentFailed,
    WorkflowStatus.CANCELLED: facts.DocumentCancelled,
    WorkflowStatus.SUPERSEDED: facts.DocumentSuperseded,
}
_UNWELL = frozenset({WorkflowStatus.PARTIAL, WorkflowStatus.FAILED})


@dataclass(frozen=True, slots=True)
class StepEnd:
    """One step of a workflow that ends with this transaction."""

    workflow_id: str
    kind: str
    outcome: Outcome


@dataclass(frozen=True, slots=True)
class Draft:
    """An event that waits for the document's new status and revision; ``details`` are ``DocumentData``'s own fields."""

    fact: type[DocumentFact]
    details: dict[str, Any]


@dataclass(frozen=True, slots=True)
class Effects:
    """What a transaction did to one locked document besides its jobs."""

    document: LockedDocument
    closings: Sequence[StepEnd]
    drafts: Sequence[Draft]
    traceparent: str | None = None
    """Of the span that the change belongs to, where that is not the current one."""


@dataclass(frozen=True, slots=True)
class Applied:
    """``events`` wait for their relay; ``ended`` says that a workflow has; ``ended_after`` as in ``Change``."""

    events: tuple[outbox.OutboxEvent, ...]
    ended: bool
    ended_after: tuple[float, ...]


@dataclass(frozen=True, slots=True)
class _Derived:
    """A document once this transaction has ended, with the workflows that end by it and the events that tell of both."""

    document: LockedDocument
    ended: Mapping[str, WorkflowStatus]
    events: tuple[outbox.OutboxEvent, ...]


def failed_draft(row: JobRow, *, code: str, message: str) -> Draft:
    fact = facts.DocumentParseFailed if row.kind == StepKind.PARSE.job else facts.IndexFailed
    return Draft(fact, {**details_of(row), "error_code": code, "error_message": message})


def message_of(draft: Draft, document: LockedDocument, source: str) -> Message:
    """``document`` as it is after the change."""
    data = DocumentData(
        document_id=document.id,
        collection_id=document.collection_id,
        revision=document.revision,
        status=document.status,
        name=document.name,
        **draft.details,
    )
    return draft.fact.of(data, source=source, subject=document.id, owner=document.owner, cause_id=data.workflow_id)


async def apply_effects(conn: AsyncConnection | Connection, *effects: Effects, source: str) -> list[Applied]:
    """After the jobs have been written: states, workflows and events, in the same transaction.

    Two statements, however many documents there are; the answers are in their order.
    """
    raw = await driver(conn)
    closings = [closing for c in effects for closing in c.closings]
    read = await _CLOSE_AND_READ.row(
        raw,
        [c.workflow_id for c in closings],
        [c.kind for c in closings],
        [c.outcome.value for c in closings],
        [c.document.id for c in effects],
    )
    assert read is not None  # noqa: S101  # a select without a table answers one row
    jobs: dict[str, list[derive.JobState]] = defaultdict(list)
    for document_id, *state in read["jobs"]:
        jobs[document_id].append(derive.JobState(*state))
    return await write(raw, effects, jobs, read["outcomes"], source=source)


async def write(
    conn: Connection,
    effects: Sequence[Effects],
    jobs: Mapping[str, Sequence[derive.JobState]],
    outcomes: Sequence[Sequence[str]],
    *,
    source: str,
) -> list[Applied]:
    """Where the steps are closed already. ``jobs`` are all jobs of each document as they are now; ``outcomes`` are the
    steps of the running workflows (workflow, kind, outcome) as they were before the closings.
    """
    derived = [_derive(it, jobs.get(it.document.id, ()), outcomes, source) for it in effects]
    statuses = {workflow_id: status.value for it in derived for workflow_id, status in it.ended.items()}
    rows = await _WRITE.fetch(
        conn,
        [it.document.id for it in derived],
        [it.document.status for it in derived],
        [it.document.revision for it in derived],
        list(statuses),
        list(statuses.values()),
        *outbox.arguments([event for it in derived for event in it.events]),
    )
    seconds: dict[str, list[float]] = defaultdict(list)
    for row in rows:
        seconds[row["document_id"]].append(row["seconds"])
    return [Applied(it.events, bool(it.ended), tuple(seconds[it.document.id])) for it in derived]


def _derive(
    effect: Effects, jobs: Sequence[derive.JobState], outcomes: Sequence[Sequence[str]], source: str
) -> _Derived:
    document = effect.document
    status = DocumentStatus.DELETED if document.deleted else derive.document_status(jobs)
    after = replace(document, status=status.value, revision=document.revision + 1)
    ended, failure = _ended(outcomes, effect.closings), derive.failure(jobs)
    ends = (_end(workflow_id, outcome, after, failure) for workflow_id, outcome in ended.items())
    traceparent = effect.traceparent or propagate.current_traceparent()
    messages = (message_of(draft, after, source) for draft in (*effect.drafts, *ends))
    return _Derived(after, ended, tuple(outbox.event(message, traceparent) for message in messages))


def _end(workflow_id: str, outcome: WorkflowStatus, document: LockedDocument, failure: derive.JobState | None) -> Draft:
    details: dict[str, Any] = {"workflow_id": workflow_id, "outcome": outcome.value}
    if failure is not None and outcome in _UNWELL:
        details |= {"error_code": failure.error_code, "error_message": failure.error_message}
    fact = _END_OF[outcome]
    if document.deleted and fact is facts.DocumentIndexed:
        fact = facts.DocumentRemoved if outcome is WorkflowStatus.SUCCESS else facts.DocumentFailed
    return Draft(fact, details)


def _ended(outcomes: Sequence[Sequence[str]], closings: Sequence[StepEnd]) -> dict[str, WorkflowStatus]:
    now = {(c.workflow_id, c.kind): c.outcome for c in closings}
    ended: dict[str, WorkflowStatus] = {}
    for workflow_id in sorted({c.workflow_id for c in closings}):
        of_workflow = {kind: outcome for of, kind, outcome in outcomes if of == workflow_id}
        for kind, outcome in of_workflow.items():
            if outcome == Outcome.OPEN and (workflow_id, kind) in now:
                of_workflow[kind] = now[workflow_id, kind]
        status = derive.workflow_status(of_workflow) if of_workflow else WorkflowStatus.RUNNING
        if status is not WorkflowStatus.RUNNING:
            ended[workflow_id] = status
    return ended
