"""``TaskScheduler``: the seed's interface for scheduling document work, and the scheduler that does it with jobs.

The gateway schedules all document work through it. Every call works inside the transaction of its ``context``; the
context's changes are delivered after the commit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncConnection

from aperag_common import errors
from aperag_common.db.models.base import Lane
from aperag_common.db.models.workflow import WorkflowStatus
from aperag_common.db.session import autocommit
from aperag_common.jobs.declared import BUILT
from aperag_common.jobs.steps import StepKind
from aperag_work import changes
from aperag_work.accepting import UNCONDITIONAL, Condition, NewDocument, accept_where
from aperag_work.document_rows import STEP_OF
from aperag_work.opening import Admission

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.settings import WorkSettings
    from aperag_work.change import Change
    from aperag_work.database import Connection
    from aperag_work.document_rows import LockedDocument

_TASK = text(
    """
    SELECT id, document_id, collection_id, owner, kind, status, created, finished, traceparent
    FROM workflow WHERE id = :id
    """
)

# A job says something about this task only while it is at the generation that the task waits for. ``due_at`` is
# compared for the index of what waits for its release: without it all open jobs of everybody would be read.
_STEPS = text(
    f"""
    SELECT w.kind, w.outcome, w.generation, w.finished,
        j.status, j.attempt, j.failures, j.error_code, j.error_message,
        CASE WHEN j.failures > 0 AND j.status = 'PENDING' AND j.due_at < 'infinity' THEN j.due_at END AS next_try_at,
        CASE WHEN j.dispatch = 0 AND j.kind = 'parse' AND j.status = 'PENDING' THEN (
            SELECT count(*) FROM job o
            WHERE o.owner = j.owner AND o.kind = 'parse' AND o.status = 'PENDING' AND o.dispatch = 0
                AND o.due_at < 'infinity'
                AND (o.lane = 'bulk', o.created, o.id) < (j.lane = 'bulk', j.created, j.id)) END AS position
    FROM workflow_step w
    JOIN workflow f ON f.id = w.workflow_id
    LEFT JOIN job j ON j.subject_id = f.document_id AND {STEP_OF.format(kind="j.kind")} = w.kind
        AND j.generation = w.generation AND j.status <> 'DELETED'
    WHERE w.workflow_id = :id
    ORDER BY w.kind <> 'parse', w.kind
    """
)


@dataclass(frozen=True, slots=True)
class StepStatus:
    """``outcome`` is the task's (``open``, ``done``, ``failed``, ``superseded`` or ``cancelled``), ``status`` the job's own,
    which a newer task may have moved on. ``position`` counts the owner's documents that are released before.
    """

    kind: str
    outcome: str
    generation: int
    finished: datetime | None
    status: str | None
    attempt: int | None
    failures: int | None
    error_code: str | None
    error_message: str | None
    next_try_at: datetime | None
    position: int | None


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """A requested change of a document, and how far each of its steps is."""

    id: str
    document_id: str
    collection_id: str
    owner: str
    kind: str
    status: WorkflowStatus
    created: datetime
    finished: datetime | None
    traceparent: str | None
    steps: list[StepStatus]


@dataclass(slots=True)
class ScheduleContext:
    """One transaction of the caller's: what is scheduled in it, and what is to be delivered after its commit.

    ``new`` are documents whose rows do not exist yet: they are accepted together by the first call that names one of
    them, if the ``condition`` holds; ``accepted_at`` is when their rows say that they were. ``staged`` are locked documents
    whose upload is confirmed now.
    """

    conn: AsyncConnection | Connection
    lane: Lane = Lane.INTERACTIVE
    condition: Condition = UNCONDITIONAL
    new: dict[str, NewDocument] = field(default_factory=dict)
    staged: dict[str, LockedDocument] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    """By document."""
    accepted_at: datetime | None = None

    @property
    def transaction(self) -> AsyncConnection:
        """For work of several statements; documents that are new need but one, which may be its own transaction."""
        if not isinstance(self.conn, AsyncConnection):
            message = "this work needs a transaction"
            raise TypeError(message)
        return self.conn


class TaskScheduler(ABC):
    """Task ids are workflow ids; None where there is nothing to do."""

    @abstractmethod
    async def schedule_create_index(
        self, document_id: str, index_types: Sequence[str], context: ScheduleContext
    ) -> str | None:
        """Build indexes of a document that has none yet: one that is new or staged in the ``context``."""

    @abstractmethod
    async def schedule_update_index(
        self, document_id: str, index_types: Sequence[str], context: ScheduleContext
    ) -> str | None:
        """Build indexes again; what they serve is found until the new ones take over. None: none has a worker."""

    @abstractmethod
    async def schedule_delete_index(
        self, document_id: str, index_types: Sequence[str], context: ScheduleContext
    ) -> str | None:
        """Remove the document with all its indexes, whatever ``index_types`` names; None where it is removed already."""

    @abstractmethod
    async def get_task_status(self, task_id: str) -> TaskStatus:
        """Raises ``NotFound``."""


@dataclass(frozen=True, slots=True)
class JobScheduler(TaskScheduler):
    """Tasks are workflows over jobs."""

    engine: AsyncEngine
    work: WorkSettings

    async def schedule_create_index(
        self, document_id: str, index_types: Sequence[str], context: ScheduleContext
    ) -> str | None:
        kinds = _with_workers(index_types)
        admission = self._admission(context.lane)
        if document_id in context.new and document_id not in context.changes:
            documents = list(context.new.values())
            accepted = await accept_where(context.conn, documents, kinds, admission, context.condition)
            if accepted is None:
                return None
            context.accepted_at = accepted.at
            context.changes |= {change.document_id: change for change in accepted.changes}
        elif document_id in context.staged:
            document = context.staged.pop(document_id)
            context.changes[document_id] = await changes.confirm(
                context.transaction, document, kinds=kinds, admission=admission
            )
        elif document_id not in context.changes:
            message = f"Document {document_id} is not new: update its indexes instead"
            raise errors.InvalidParameter(message)
        return context.changes[document_id].workflow_id

    async def schedule_update_index(
        self, document_id: str, index_types: Sequence[str], context: ScheduleContext
    ) -> str | None:
        kinds = [StepKind(index_type.lower()) for index_type in index_types]
        admission = self._admission(context.lane)
        return _noted(
            context, await changes.rebuild(context.transaction, document_id, kinds=kinds, admission=admission)
        )

    async def schedule_delete_index(
        self,
        document_id: str,
        index_types: Sequence[str],  # noqa: ARG002  # a document goes whole
        context: ScheduleContext,
    ) -> str | None:
        return _noted(context, await changes.delete(context.transaction, document_id, first_due=self.work.first_due))

    async def get_task_status(self, task_id: str) -> TaskStatus:
        async with autocommit(self.engine) as conn:
            task = (await conn.execute(_TASK, {"id": task_id})).one_or_none()
            if task is None:
                message = f"Task {task_id} not found"
                raise errors.NotFound(message)
            steps = [StepStatus(**row._mapping) for row in await conn.execute(_STEPS, {"id": task_id})]
        return TaskStatus(**{**task._mapping, "status": WorkflowStatus(task.status)}, steps=steps)

    def _admission(self, lane: Lane) -> Admission:
        return Admission(lane, self.work.in_flight_per_owner, self.work.first_due)


def _with_workers(index_types: Sequence[str]) -> list[StepKind]:
    """Kinds of index that somebody builds; a job of any other would wait for ever."""
    return [kind for kind in (StepKind(it.lower()) for it in index_types) if kind in BUILT]


def _noted(context: ScheduleContext, change: Change | None) -> str | None:
    if change is None:
        return None
    context.changes[change.document_id] = change
    return change.workflow_id
