"""``TaskScheduler``: the seed's interface for scheduling document work, and the scheduler that does it with jobs.

The gateway schedules all document work through it. Every call works inside the transaction of its ``context``; the
context's changes are delivered after the commit.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common import errors
from aperag_common.db.models.base import Lane
from aperag_common.db.models.workflow import WorkflowStatus
from aperag_common.jobs.declared import BUILT
from aperag_common.jobs.steps import StepKind
from aperag_work import changes
from aperag_work.accepting import NewDocument, accept
from aperag_work.opening import Admission

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.settings import WorkSettings
    from aperag_work.change import Change
    from aperag_work.document_rows import LockedDocument

_STATUS = text(
    """
    SELECT w.status, w.created, w.finished,
        (SELECT coalesce(json_object_agg(s.kind, s.outcome), '{}') FROM workflow_step s WHERE s.workflow_id = w.id)
            AS outcomes
    FROM workflow w WHERE w.id = :id
    """
)


@dataclass(frozen=True, slots=True)
class TaskStatus:
    """``outcomes`` maps each step's kind to ``open``, ``done``, ``failed``, ``superseded`` or ``cancelled``."""

    task_id: str
    status: WorkflowStatus
    outcomes: dict[str, str]
    created: datetime
    finished: datetime | None


@dataclass(slots=True)
class ScheduleContext:
    """One transaction of the caller's: what is scheduled in it, and what is to be delivered after its commit.

    ``new`` are documents whose rows do not exist yet: they are accepted together by the first call that names one of
    them. ``staged`` are locked documents whose upload is confirmed now.
    """

    conn: AsyncConnection
    lane: Lane = Lane.INTERACTIVE
    new: dict[str, NewDocument] = field(default_factory=dict)
    staged: dict[str, LockedDocument] = field(default_factory=dict)
    changes: dict[str, Change] = field(default_factory=dict)
    """By document."""


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
            accepted = await accept(context.conn, documents, kinds, admission)
            context.changes |= {change.document_id: change for change in accepted}
        elif document_id in context.staged:
            document = context.staged.pop(document_id)
            context.changes[document_id] = await changes.confirm(
                context.conn, document, kinds=kinds, admission=admission
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
        return _noted(context, await changes.rebuild(context.conn, document_id, kinds=kinds, admission=admission))

    async def schedule_delete_index(
        self,
        document_id: str,
        index_types: Sequence[str],  # noqa: ARG002  # a document goes whole
        context: ScheduleContext,
    ) -> str | None:
        return _noted(context, await changes.delete(context.conn, document_id, first_due=self.work.first_due))

    async def get_task_status(self, task_id: str) -> TaskStatus:
        async with self.engine.connect() as conn:
            row = (await conn.execute(_STATUS, {"id": task_id})).one_or_none()
        if row is None:
            message = f"Task {task_id} not found"
            raise errors.NotFound(message)
        return TaskStatus(task_id, WorkflowStatus(row.status), row.outcomes, row.created, row.finished)

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
