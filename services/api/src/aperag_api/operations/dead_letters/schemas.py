"""Dead letters as operators see them."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Any
from uuid import UUID

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from aperag_api.kernel.validation import RequestBody

MOST_IDS = 500
_Name = Annotated[str, Field(min_length=1, max_length=64)]
_CENTURY = timedelta(days=36_500)


class DeadLetterOut(BaseModel):
    """``step`` is the kind of a document's step, or that of another job; null for a message that was no command.

    ``redrivable`` says whether a redrive would run it again now, ``reason`` why or why not.
    """

    id: UUID
    created: datetime
    code: str
    message: str
    step: str | None = None
    owner: str | None = None
    collection_id: str | None = None
    document_id: str | None = None
    document_name: str | None = None
    attempt: int
    failures: int
    consumer: str
    worker: str | None = None
    redriven_at: datetime | None = None
    redriven_task_id: str | None = None
    outcome: str
    redrivable: bool
    reason: str


class LetterDocument(BaseModel):
    """As it stands now."""

    id: str
    name: str
    status: str
    deleted: bool


class LetterRow(BaseModel):
    """The job as it stands now; ``failed_attempts`` are those of its present generation."""

    status: str
    generation: int
    attempt: int
    failures: int
    error_code: str | None = None
    error_message: str | None = None
    failed_attempts: list[dict[str, Any]]


class DeadLetterDetails(DeadLetterOut):
    """``task_id`` is the change that was given up; ``document`` and ``row`` are null where they are gone."""

    task_id: str | None = None
    row_id: str | None = None
    generation: int | None = None
    subject: str
    payload: dict[str, Any]
    headers: dict[str, Any]
    trace_id: str | None = None
    document: LetterDocument | None = None
    row: LetterRow | None = None


class Chosen(RequestBody):
    """Which letters: ``ids``, or ``all``, or those to which every filter that is given applies.

    Unknown fields are refused: a misspelt filter would mean more letters than were asked for.
    """

    NEVER_NULL = frozenset({"all", "dry_run"})
    model_config = ConfigDict(extra="forbid")

    ids: Annotated[list[UUID], Field(min_length=1, max_length=MOST_IDS)] | None = None
    all: bool = False
    code: _Name | None = None
    step: _Name | None = None
    owner: _Name | None = None
    collection_id: _Name | None = None
    document_id: _Name | None = None
    since: AwareDatetime | None = None
    until: AwareDatetime | None = None


class RedriveRequest(Chosen):
    """``after`` is the ``next`` of an earlier answer to the same request; ``dry_run`` only says what would be done."""

    dry_run: bool = False
    after: Annotated[str, Field(max_length=200)] | None = None


class PurgeRequest(Chosen):
    """``older_than`` is a number of seconds or an ISO 8601 duration."""

    redriven: bool | None = None
    older_than: Annotated[timedelta, Field(ge=timedelta(0), le=_CENTURY)] | None = None


class RedriveResult(BaseModel):
    id: UUID
    outcome: str
    reason: str
    task_id: str | None = None


class RedriveAnswer(BaseModel):
    """``outcomes`` counts all letters looked at; ``results`` and ``task_ids`` hold the first 100.

    ``next`` is set where there are more letters than one request takes: ask again with it as ``after``.
    """

    dry_run: bool
    letters: int
    outcomes: dict[str, int]
    tasks: int
    task_ids: list[str]
    results: list[RedriveResult]
    next: str | None = None


class PurgeAnswer(BaseModel):
    purged: int
