"""Jobs as their owners and operators see them."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aperag_api.kernel.validation import RequestBody
from aperag_work.backlog import WorkState

_Name = Annotated[str, Field(min_length=1, max_length=64)]


class JobState(StrEnum):
    """What an open job waits for or that it runs, as ``/admin/queues`` counts it; ``failed``: it was given up."""

    WAITING = WorkState.WAITING.value
    BLOCKED = WorkState.BLOCKED.value
    QUEUED = WorkState.QUEUED.value
    RUNNING = WorkState.RUNNING.value
    RETRYING = WorkState.RETRYING.value
    WORKER_LOST = WorkState.WORKER_LOST.value
    FAILED = "failed"


class JobOut(BaseModel):
    """``subject_id`` is what it works on, ``name`` that of a document. ``since``: when it came into this state.

    ``next_try_at`` is set while it waits for its next attempt.
    """

    id: str
    kind: str
    state: JobState
    owner: str
    collection_id: str | None = None
    subject_id: str
    document_id: str | None = None
    name: str | None = None
    task_id: str | None = None
    removes: bool
    attempt: int
    failures: int
    worker: str | None = None
    created: datetime
    since: datetime
    next_try_at: datetime | None = None
    error_code: str | None = None
    error_message: str | None = None


class JobSelection(RequestBody):
    """Which jobs: ``all``, or those to which every filter that is given applies.

    ``dry_run`` only counts. ``after`` is the ``next`` of an earlier answer to the same request. Unknown fields are
    refused: a misspelt filter would mean more jobs than were asked for.
    """

    NEVER_NULL = frozenset({"all", "dry_run"})
    model_config = ConfigDict(extra="forbid")

    all: bool = False
    kind: _Name | None = None
    state: JobState | None = None
    collection_id: _Name | None = None
    code: _Name | None = None
    dry_run: bool = False
    after: Annotated[str, Field(max_length=24)] | None = None


class AnyonesJobSelection(JobSelection):
    owner: _Name | None = None


class JobsChanged(BaseModel):
    """``jobs`` match; with ``dry_run`` all of them, else those of this request, and ``tasks`` is what came of them.

    ``next`` is set where there are more jobs than one request takes: ask again with it as ``after``.
    """

    dry_run: bool
    jobs: int
    tasks: int
    next: str | None = None
