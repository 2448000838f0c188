"""``TaskScheduler``: the original's interface over driven rows, for code that was written against it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_common import errors
from aperag_common.db.models.base import Lane
from aperag_common.db.models.document_step import StepKind
from aperag_common.db.models.workflow import WorkflowStatus
from aperag_common.work import changes

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.settings import WorkSettings
    from aperag_common.work.courier import Courier

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


@dataclass(frozen=True, slots=True)
class TaskScheduler:
    """Task ids are workflow ids. Every call is one transaction, delivered after its commit."""

    engine: AsyncEngine
    courier: Courier
    work: WorkSettings

    async def schedule_create_index(self, document_id: str, index_types: Sequence[str]) -> str:
        """Also the update's: which of the two it is follows from what the document already has."""
        pace = changes.Pace(Lane.INTERACTIVE, self.work.in_flight_per_owner, self.work.first_due)
        kinds = [StepKind(index_type.lower()) for index_type in index_types]
        async with self.engine.begin() as conn:
            change = await changes.rebuild(conn, document_id, kinds=kinds, pace=pace)
        if change is None:
            message = f"no worker builds any of {', '.join(index_types)}"
            raise errors.InvalidParameter(message)
        self.courier.deliver(change)
        return change.workflow_id

    async def schedule_update_index(self, document_id: str, index_types: Sequence[str]) -> str:
        return await self.schedule_create_index(document_id, index_types)

    async def schedule_delete_index(self, document_id: str) -> str:
        """Removes the document with all its indexes."""
        async with self.engine.begin() as conn:
            change = await changes.delete(conn, document_id, first_due=self.work.first_due)
        if change is None:
            message = f"Document {document_id} not found"
            raise errors.DocumentNotFound(message)
        self.courier.deliver(change)
        return change.workflow_id

    async def get_task_status(self, task_id: str) -> TaskStatus:
        async with self.engine.connect() as conn:
            row = (await conn.execute(_STATUS, {"id": task_id})).one_or_none()
        if row is None:
            message = f"Task {task_id} not found"
            raise errors.NotFound(message)
        return TaskStatus(task_id, WorkflowStatus(row.status), row.outcomes, row.created, row.finished)
