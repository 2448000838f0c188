"""Cancelling tasks: one fenced transaction, after which nothing of them appears any more."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_common.db.models.base import JobStatus
from aperag_common.db.models.workflow import Outcome, WorkflowKind, WorkflowStatus
from aperag_common.jobs.declared import PARSE
from aperag_work import derive
from aperag_work.change import Change
from aperag_work.database import Statement, driver
from aperag_work.document_rows import STEP_OF, lock, lock_all, step_of
from aperag_work.effects import Effects, StepEnd, apply_effects, failed_draft
from aperag_work.rows import UNLEASED, Dispatch, JobRow, columns_of
from aperag_work.waiting import followers, release_waiting

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_work.database import Connection
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.document_rows import LockedDocument
    from aperag_work.effects import Applied

SOURCE = "api"
CODE = derive.CANCELLED
MESSAGE = "The task was cancelled."

_WORKFLOW = Statement("read a workflow", "SELECT document_id, kind, status FROM workflow WHERE id = $1 AND owner = $2")
_STATUS = Statement("read a workflow's status", "SELECT status FROM workflow WHERE id = $1")
_RUNNING = Statement(
    "read running workflows",
    """
    SELECT id, document_id FROM workflow
    WHERE document_id = ANY($1::text[]) AND status = 'RUNNING' AND kind <> 'delete' ORDER BY document_id, id
    """,
)

_DOCUMENTS_OF = Statement("read documents of jobs", "SELECT DISTINCT subject_id FROM job WHERE id = ANY($1::text[])")
_TASKS_OF = Statement(
    "read running workflows of jobs",
    """
    SELECT DISTINCT w.document_id, w.id FROM job j JOIN workflow w ON w.id = j.workflow_id
    WHERE j.id = ANY($1::text[]) AND w.document_id = j.subject_id AND w.status = 'RUNNING' AND w.kind <> 'delete'
    ORDER BY w.document_id, w.id
    """,
)

# A job goes back to what it serves, or ends FAILED where it never served anything. The raised generation fences off
# whoever works on it. A build that only waits for another workflow's parse is as open as any other.
_CANCELLED = f"""
    UPDATE job j SET generation = j.generation + 1, observed_generation = j.generation + 1, dispatch = 0,
        status = CASE WHEN i.document_id IS NULL THEN 'FAILED' ELSE 'ACTIVE' END, due_at = 'infinity',
        error_code = CASE WHEN i.document_id IS NULL THEN '{CODE}' END,
        error_message = CASE WHEN i.document_id IS NULL THEN '{MESSAGE}' END,
        {UNLEASED}, settled_at = clock_timestamp(), updated = clock_timestamp()
    FROM (
        SELECT id, subject_id, {STEP_OF.format(kind="kind")} AS step FROM job
        WHERE subject_id = ANY($1::text[]) AND {{which}} ORDER BY id FOR UPDATE
    ) o LEFT JOIN document_index i ON i.document_id = o.subject_id AND i.kind = o.step
    WHERE o.id = j.id
    RETURNING {columns_of("j")}
"""
_CANCEL = Statement(
    "cancel jobs",
    _CANCELLED.format(which="workflow_id = ANY($2::text[]) AND status IN ('PENDING', 'CREATING')"),
)
# Builds of another workflow that waited for the parse that has just been cancelled before it ever served.
_CANCEL_WAITING = Statement(
    "cancel waiting jobs",
    _CANCELLED.format(which="kind = ANY($2::text[]) AND status = 'PENDING' AND due_at = 'infinity'"),
)


@dataclass(frozen=True, slots=True)
class AlreadySettled:
    """The task ended first; ``status`` is how."""

    status: WorkflowStatus


@dataclass(frozen=True, slots=True)
class Cancelled:
    """One document's ``tasks`` have ended with this transaction; ``change`` is to be delivered after it."""

    tasks: tuple[str, ...]
    change: Change


async def cancel(
    conn: AsyncConnection | Connection, workflow_id: str, *, owner: str, first_due: timedelta
) -> Change | AlreadySettled:
    """Raises NotFound for another owner's task and Conflict for a delete, which cannot be taken back."""
    raw = await driver(conn)
    found = await _WORKFLOW.row(raw, workflow_id, owner)
    document = None if found is None else await lock(raw, found["document_id"])
    if found is None or document is None:
        message = f"Task {workflow_id} not found"
        raise errors.NotFound(message)
    if found["kind"] == WorkflowKind.DELETE:
        message = "A delete cannot be cancelled"
        raise errors.Conflict(message)
    # Read again under the document's lock: whoever closes a workflow holds it.
    status = await _STATUS.value(raw, workflow_id)
    if status != WorkflowStatus.RUNNING:
        return AlreadySettled(WorkflowStatus(status))
    [cancelled] = await _cancel(raw, [document], {document.id: [workflow_id]}, first_due)
    return cancelled.change


async def cancel_documents(
    conn: AsyncConnection | Connection, document_ids: Iterable[str], *, first_due: timedelta
) -> list[Cancelled]:
    """Cancel every running task of these documents except deletes; a document without one is left out.

    The caller has checked whose documents they are.
    """
    raw = await driver(conn)
    documents = await lock_all(raw, document_ids)
    running: dict[str, list[str]] = defaultdict(list)
    for row in await _RUNNING.fetch(raw, list(documents)):
        running[row["document_id"]].append(row["id"])
    return await _cancel(raw, [documents[id_] for id_ in running], running, first_due) if running else []


async def cancel_jobs(
    conn: AsyncConnection | Connection, job_ids: Sequence[str], *, first_due: timedelta
) -> list[Cancelled]:
    """Cancel the running tasks that these jobs belong to, except deletes. The caller has checked whose jobs they are."""
    raw = await driver(conn)
    documents = await lock_all(raw, [row[0] for row in await _DOCUMENTS_OF.fetch(raw, list(job_ids))])
    running: dict[str, list[str]] = defaultdict(list)
    for row in await _TASKS_OF.fetch(raw, list(job_ids)):
        running[row["document_id"]].append(row["id"])
    meant = [documents[id_] for id_ in running if id_ in documents]
    return await _cancel(raw, meant, running, first_due) if meant else []


async def announce(dispatcher: Dispatcher, cancelled: Iterable[Cancelled]) -> None:
    """After the commit: workers stop at once instead of at their next beat, and free slots are given away."""
    ended = list(cancelled)
    for task_id in [task for it in ended for task in it.tasks]:
        await dispatcher.publisher.cancel_task(task_id)
    dispatcher.deliver(*[it.change for it in ended])


async def _cancel(
    conn: Connection,
    documents: Sequence[LockedDocument],
    tasks: Mapping[str, Sequence[str]],
    first_due: timedelta,
) -> list[Cancelled]:
    """``tasks`` maps a document to its workflows; answers in the documents' order."""
    workflows = [workflow_id for of_document in tasks.values() for workflow_id in of_document]
    jobs, builds = await _cancel_jobs(conn, [d.id for d in documents], workflows, first_due)
    effects = [
        Effects(
            document,
            [StepEnd(it.workflow_id or "", step_of(it), Outcome.CANCELLED) for it in jobs[document.id]],
            [failed_draft(it, code=CODE, message=MESSAGE) for it in jobs[document.id] if it.status == JobStatus.FAILED],
        )
        for document in documents
    ]
    applied = await apply_effects(conn, *effects, source=SOURCE)
    return [
        Cancelled(tuple(tasks[document.id]), _change(document, tasks[document.id][0], builds[document.id], done))
        for document, done in zip(documents, applied, strict=True)
    ]


async def _cancel_jobs(
    conn: Connection, documents: Sequence[str], workflows: Sequence[str], first_due: timedelta
) -> tuple[dict[str, list[JobRow]], dict[str, list[JobRow]]]:
    """By document: the jobs that ended, and builds of other workflows that may go on, for their parse still serves."""
    cancelled = [JobRow(*row) for row in await _CANCEL.fetch(conn, list(documents), list(workflows))]
    parses = {it.subject_id: it.status for it in cancelled if it.kind == PARSE.name}
    serving = [document_id for document_id, status in parses.items() if status == JobStatus.ACTIVE]
    gone = [document_id for document_id, status in parses.items() if status != JobStatus.ACTIVE]
    builds = await release_waiting(conn, serving, PARSE.name, first_due=first_due)
    if gone:
        rows = await _CANCEL_WAITING.fetch(conn, gone, followers(PARSE.name))
        cancelled += [JobRow(*row) for row in rows]
    return _by_document(cancelled), _by_document(builds)


def _by_document(jobs: Iterable[JobRow]) -> dict[str, list[JobRow]]:
    found: dict[str, list[JobRow]] = defaultdict(list)
    for job in jobs:
        found[job.subject_id].append(job)
    return found


def _change(document: LockedDocument, workflow_id: str, builds: Sequence[JobRow], applied: Applied) -> Change:
    commands = tuple(Dispatch(build, SOURCE) for build in builds)
    return Change(commands, applied.events, document.id, workflow_id, settled=True)
