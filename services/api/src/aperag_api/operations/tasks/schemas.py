"""A requested change as a task: where each step is, and why."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel


class TaskStep(BaseModel):
    """``outcome`` is this task's, ``status`` the step's own, which a newer task may have moved on.

    ``position`` counts the owner's documents that are released before a waiting one.
    """

    kind: str
    outcome: str
    generation: int
    status: str | None = None
    attempt: int | None = None
    failures: int | None = None
    position: int | None = None
    next_try_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None
    finished: datetime | None = None


class TaskOut(BaseModel):
    id: str
    document_id: str
    collection_id: str
    kind: str
    status: str
    created: datetime
    finished: datetime | None = None
    trace_id: str | None = None
    steps: list[TaskStep]
