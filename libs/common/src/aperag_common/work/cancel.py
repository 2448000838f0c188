"""Cancelling tasks: one fenced transaction, after which nothing of them appears any more."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common import errors
from aperag_common.db.models.base import StepStatus
from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import Outcome, WorkflowKind, WorkflowStatus
from aperag_common.events import facts
from aperag_common.work.change import Change
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.documents import Closing, Conclusion, Draft, conclude, lock, lock_all
from aperag_common.work.finish import RELEASE_BUILDS, step_details

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from datetime import timedelta

    from sqlalchemy import TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_common.work.documents import Concluded, LockedDocument

SOURCE = "api"
CODE = "CANCELLED"
MESSAGE = "The task was cancelled."

_WORKFLOW = text("SELECT document_id, kind, status FROM workflow WHERE id = :id AND owner = :owner")
_STATUS = text("SELECT status FROM workflow WHERE id = :id")
_RUNNING = text(
    """
    SELECT id, document_id FROM workflow
    WHERE document_id = ANY(:documents) AND status = 'RUNNING' AND kind <> 'delete' ORDER BY document_id, id
    """
)

# A step goes back to what it serves, or ends FAILED where it never served anything. The raised generation fences
# off whoever works on it. A build that only waits for another workflow's parse is as open as any other.
_CANCEL_STEPS = text(
    f"""
    UPDATE document_step SET generation = generation + 1, observed_generation = generation + 1, dispatch = 0,
        status = CASE WHEN served_generation IS NULL THEN 'FAILED' ELSE 'ACTIVE' END, due_at = 'infinity',
        error_code = CASE WHEN served_generation IS NULL THEN :code END,
        error_message = CASE WHEN served_generation IS NULL THEN :message END,
        lease_token = NULL, lease_owner = NULL, lease_until = NULL,
        settled_at = clock_timestamp(), updated = clock_timestamp()
    WHERE document_id = ANY(:documents) AND workflow_id = ANY(:workflows) AND status IN ('PENDING', 'CREATING')
    RETURNING {STEP_COLUMNS}
    """
)

# Builds of another workflow that waited for the parse that has just been cancelled before it ever served.
_CANCEL_WAITING = text(
    f"""
    UPDATE document_step SET generation = generation + 1, observed_generation = generation + 1, dispatch = 0,
        status = CASE WHEN served_generation IS NULL THEN 'FAILED' ELSE 'ACTIVE' END,
        error_code = CASE WHEN served_generation IS NULL THEN :code END,
        error_message = CASE WHEN served_generation IS NULL THEN :message END,
        settled_at = clock_timestamp(), updated = clock_timestamp()
    WHERE document_id = ANY(:documents) AND kind <> 'parse' AND status = 'PENDING' AND due_at = 'infinity'
    RETURNING {STEP_COLUMNS}
    """
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
    conn: AsyncConnection, workflow_id: str, *, owner: str, first_due: timedelta
) -> Change | AlreadySettled:
    """Raises NotFound for another owner's task and Conflict for a delete, which cannot be taken back."""
    found = (await conn.execute(_WORKFLOW, {"id": workflow_id, "owner": owner})).one_or_none()
    document = None if found is None else await lock(conn, found.document_id)
    if found is None or document is None:
        message = f"Task {workflow_id} not found"
        raise errors.NotFound(message)
    if found.kind == WorkflowKind.DELETE:
        message = "A delete cannot be cancelled"
        raise errors.Conflict(message)
    # Read again under the document's lock: whoever closes a workflow holds it.
    status = (await conn.execute(_STATUS, {"id": workflow_id})).scalar_one()
    if status != WorkflowStatus.RUNNING:
        return AlreadySettled(WorkflowStatus(status))
    [cancelled] = await _cancel(conn, [document], {document.id: [workflow_id]}, first_due)
    return cancelled.change


async def cancel_documents(
    conn: AsyncConnection, document_ids: Iterable[str], *, first_due: timedelta
) -> list[Cancelled]:
    """Cancel every running task of these documents except deletes; a document without one is left out.

    The caller has checked whose documents they are.
    """
    documents = await lock_all(conn, document_ids)
    running: dict[str, list[str]] = defaultdict(list)
    for row in await conn.execute(_RUNNING, {"documents": list(documents)}):
        running[row.document_id].append(row.id)
    return await _cancel(conn, [documents[id_] for id_ in running], running, first_due) if running else []


async def _cancel(
    conn: AsyncConnection,
    documents: Sequence[LockedDocument],
    tasks: Mapping[str, Sequence[str]],
    first_due: timedelta,
) -> list[Cancelled]:
    """``tasks`` maps a document to its workflows; answers in the documents' order."""
    workflows = [workflow_id for of_document in tasks.values() for workflow_id in of_document]
    steps, builds = await _cancel_steps(conn, [d.id for d in documents], workflows, first_due)
    conclusions = [
        Conclusion(
            document,
            [Closing(s.workflow_id, s.kind, Outcome.CANCELLED) for s in steps[document.id]],
            [_cancelled(step) for step in steps[document.id] if step.status == StepStatus.FAILED],
        )
        for document in documents
    ]
    concluded = await conclude(conn, *conclusions, source=SOURCE)
    return [
        Cancelled(tuple(tasks[document.id]), _change(document, tasks[document.id][0], builds[document.id], done))
        for document, done in zip(documents, concluded, strict=True)
    ]


async def _cancel_steps(
    conn: AsyncConnection, documents: Sequence[str], workflows: Sequence[str], first_due: timedelta
) -> tuple[dict[str, list[StepRow]], dict[str, list[StepRow]]]:
    """By document: the steps that ended, and builds of other workflows that may go on, for their parse still serves."""
    reason = {"code": CODE, "message": MESSAGE}
    parameters = {**reason, "documents": list(documents), "workflows": list(workflows)}
    cancelled = await _rows(conn, _CANCEL_STEPS, parameters)
    parses = {step.document_id: step.status for step in cancelled if step.kind == StepKind.PARSE}
    serving = [document_id for document_id, status in parses.items() if status == StepStatus.ACTIVE]
    gone = [document_id for document_id, status in parses.items() if status != StepStatus.ACTIVE]
    builds = await _rows(conn, RELEASE_BUILDS, {"documents": serving, "first_due": first_due}) if serving else []
    if gone:
        cancelled += await _rows(conn, _CANCEL_WAITING, {**reason, "documents": gone})
    return _by_document(cancelled), _by_document(builds)


async def _rows(conn: AsyncConnection, statement: TextClause, parameters: dict[str, Any]) -> list[StepRow]:
    return [StepRow(**row._mapping) for row in await conn.execute(statement, parameters)]


def _by_document(steps: Iterable[StepRow]) -> dict[str, list[StepRow]]:
    found: dict[str, list[StepRow]] = defaultdict(list)
    for step in steps:
        found[step.document_id].append(step)
    return found


def _change(document: LockedDocument, workflow_id: str, builds: Sequence[StepRow], concluded: Concluded) -> Change:
    commands = tuple(step_dispatch(build, source=SOURCE) for build in builds)
    return Change(commands, concluded.facts, document.id, workflow_id, settled=True)


def _cancelled(row: StepRow) -> Draft:
    fact = facts.DocumentParseFailed if row.kind == StepKind.PARSE else facts.IndexFailed
    return Draft(fact, {**step_details(row), "error_code": CODE, "error_message": MESSAGE})
