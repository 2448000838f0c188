"""SQL of tasks."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import text

from aperag_api.access.conditions import REACHED
from aperag_api.operations.tasks.schemas import TaskOut, TaskStep
from aperag_common.telemetry import propagate
from aperag_work.document_rows import STEP_OF

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.kernel.auth import Caller

_TASK = text(
    f"""
    SELECT id, document_id, collection_id, kind, status, created, finished, traceparent
    FROM workflow WHERE id = :id AND owner = :owner AND {REACHED.format(collection="collection_id")}
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


async def get(conn: AsyncConnection, task_id: str, caller: Caller) -> TaskOut | None:
    """The caller's own task, in a collection that their key reaches."""
    wanted = {"id": task_id, "owner": caller.user_id, "reach": caller.reach}
    task = (await conn.execute(_TASK, wanted)).one_or_none()
    if task is None:
        return None
    steps = [TaskStep(**row._mapping) for row in await conn.execute(_STEPS, {"id": task_id})]
    values = dict(task._mapping)
    traceparent = values.pop("traceparent")
    trace_id = propagate.trace_id_of(traceparent) if traceparent else None
    return TaskOut(**values, trace_id=trace_id, steps=steps)
