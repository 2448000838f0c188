"""Documents as clients see them (contract 1.4)."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Annotated, Any

from pydantic import AfterValidator, BaseModel, BeforeValidator, Field

from aperag_api.kernel.paging import Paged
from aperag_api.kernel.validation import RequestBody
from aperag_common import errors
from aperag_common.jobs.steps import StepKind

SKIPPED = "SKIPPED"
"""The index status of a kind that has no row: disabled, or no worker builds it."""


class ReadWarningOut(BaseModel):
    """Something of the document that was not read, or not for certain; ``kind`` is for programs."""

    kind: str
    place: str
    message: str


class DocumentOut(BaseModel):
    """Beyond the contract: ``metadata`` is what the sender of an ingest event keeps with its document; ``warnings`` says what could not be read; ``task_id`` is the newest change that was asked for (``wait_for`` and tasks take it);
    ``error_code`` and ``error_message`` say why the document failed, or why its work is tried again.
    """

    id: str
    name: str
    status: str
    vector_index_status: str = SKIPPED
    fulltext_index_status: str = SKIPPED
    graph_index_status: str = SKIPPED
    summary_index_status: str = SKIPPED
    vision_index_status: str = SKIPPED
    vector_index_updated: datetime | None = None
    fulltext_index_updated: datetime | None = None
    graph_index_updated: datetime | None = None
    summary_index_updated: datetime | None = None
    vision_index_updated: datetime | None = None
    summary: str | None = None
    size: int
    created: datetime
    updated: datetime
    task_id: str | None = None
    error_code: str | None = None
    error_message: str | None = None
    metadata: dict[str, Any] = Field(default_factory=dict)
    warnings: list[ReadWarningOut] = Field(default_factory=list)


class DocumentList(BaseModel):
    items: list[DocumentOut]


class ListedStatus(StrEnum):
    """Of documents that lists show."""

    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"


Statuses = Annotated[list[ListedStatus], BeforeValidator(lambda given: [it for it in given if it])]
"""Of a query; empty ones are none."""


class DocumentPage(Paged[DocumentOut]):
    """Beyond the contract ``counts``: how many there are in each status, whichever of them are listed."""

    counts: dict[ListedStatus, int] = Field(default_factory=dict)


class DocumentSort(StrEnum):
    NAME = "name"
    CREATED = "created"
    UPDATED = "updated"
    SIZE = "size"
    STATUS = "status"


class DeletedDocuments(BaseModel):
    deleted_ids: list[str]
    status: str = "success"


class IndexType(StrEnum):
    VECTOR = "VECTOR"
    FULLTEXT = "FULLTEXT"
    GRAPH = "GRAPH"
    SUMMARY = "SUMMARY"
    VISION = "VISION"

    @property
    def kind(self) -> StepKind:
        return StepKind(self.value.lower())


def _distinct(types: list[IndexType]) -> list[IndexType]:
    if len(set(types)) != len(types):
        raise errors.InvalidParameter("Duplicate index types are not allowed")
    return types


class RebuildRequest(RequestBody):
    index_types: Annotated[list[IndexType], Field(min_length=1), AfterValidator(_distinct)]


class RebuildAnswer(BaseModel):
    """``task_id`` is null where none of the types has a worker."""

    code: str = "200"
    message: str
    task_id: str | None = None


class RebuildFailedAnswer(BaseModel):
    code: str = "200"
    message: str
    affected_documents: int
