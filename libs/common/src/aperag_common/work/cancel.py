"""Cancelling a task: one fenced transaction, after which nothing of it appears any more."""

from __future__ import annotations

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
from aperag_common.work.documents import Closing, Conclusion, Draft, conclude, lock
from aperag_common.work.finish import RELEASE_BUILDS, step_details

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy import TextClause
    from sqlalchemy.ext.asyncio import AsyncConnection

SOURCE = "api"
CODE = "CANCELLED"
MESSAGE = "The task was cancelled."

_WORKFLOW = text("SELECT document_id, kind, status FROM workflow WHERE id = :id AND owner = :owner")
_STATUS = text("SELECT status FROM workflow WHERE id = :id")

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
    WHERE document_id = :document AND workflow_id = :workflow AND status IN ('PENDING', 'CREATING')
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
    WHERE document_id = :document AND kind <> 'parse' AND status = 'PENDING' AND due_at = 'infinity'
    RETURNING {STEP_COLUMNS}
    """
)


@dataclass(frozen=True, slots=True)
class AlreadySettled:
    """The task ended first; ``status`` is how."""

    status: WorkflowStatus


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
    cancelled, builds = await _cancel_steps(conn, document.id, workflow_id, first_due)
    closings = [Closing(s.workflow_id, s.kind, Outcome.CANCELLED) for s in cancelled]
    drafts = [_cancelled(step) for step in cancelled if step.status == StepStatus.FAILED]
    [concluded] = await conclude(conn, Conclusion(document, closings, drafts), source=SOURCE)
    commands = tuple(step_dispatch(build, source=SOURCE) for build in builds)
    return Change(commands, concluded.facts, document.id, workflow_id, settled=True)


async def _cancel_steps(
    conn: AsyncConnection, document_id: str, workflow_id: str, first_due: timedelta
) -> tuple[list[StepRow], list[StepRow]]:
    """The steps that ended, and the builds of other workflows that may go on: the parse they wait for still serves."""
    reason = {"document": document_id, "code": CODE, "message": MESSAGE}
    cancelled = await _rows(conn, _CANCEL_STEPS, {**reason, "workflow": workflow_id})
    parse = next((step for step in cancelled if step.kind == StepKind.PARSE), None)
    if parse is None:
        return cancelled, []
    if parse.status == StepStatus.ACTIVE:
        return cancelled, await _rows(conn, RELEASE_BUILDS, {"documents": [document_id], "first_due": first_due})
    return cancelled + await _rows(conn, _CANCEL_WAITING, reason), []


async def _rows(conn: AsyncConnection, statement: TextClause, parameters: dict[str, Any]) -> list[StepRow]:
    return [StepRow(**row._mapping) for row in await conn.execute(statement, parameters)]


def _cancelled(row: StepRow) -> Draft:
    fact = facts.DocumentParseFailed if row.kind == StepKind.PARSE else facts.IndexFailed
    return Draft(fact, {**step_details(row), "error_code": CODE, "error_message": MESSAGE})
