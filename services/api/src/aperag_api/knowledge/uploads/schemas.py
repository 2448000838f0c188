"""The two-step upload as clients see it (contract 1.4)."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any

from pydantic import BaseModel, Field

from aperag_api.kernel.validation import RequestBody


class UploadedDocument(BaseModel):
    document_id: str
    filename: str
    size: int
    status: str


class ConfirmRequest(RequestBody):
    document_ids: Annotated[list[str], Field(min_length=1, max_length=1000)]


class ConfirmError(StrEnum):
    DOCUMENT_NOT_FOUND = "DOCUMENT_NOT_FOUND"
    DOCUMENT_EXPIRED = "DOCUMENT_EXPIRED"
    DOCUMENT_NOT_UPLOADED = "DOCUMENT_NOT_UPLOADED"


class FailedConfirmation(BaseModel):
    document_id: str
    name: str | None = None
    error: ConfirmError


class ConfirmAnswer(BaseModel):
    """``task_ids`` maps each confirmed document to its task."""

    confirmed_count: int
    failed_count: int
    failed_documents: list[FailedConfirmation]
    task_ids: dict[str, str] = {}


def form(field: str, *, many: bool) -> dict[str, Any]:
    """The OpenAPI description of a body that is read as a stream."""
    binary = {"type": "string", "format": "binary"}
    shape = {"type": "array", "items": binary} if many else binary
    schema = {"type": "object", "required": [field], "properties": {field: shape}}
    return {"requestBody": {"required": True, "content": {"multipart/form-data": {"schema": schema}}}}
