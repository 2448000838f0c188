"""Events of other services as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from pydantic import BaseModel

from aperag_common.events.ingest import BATCH, STRUCTURED, UpsertData

_EVENT: dict[str, Any] = {
    "type": "object",
    "required": ["specversion", "id", "source", "type", "subject"],
    "properties": {
        "specversion": {"type": "string", "enum": ["1.0"]},
        "id": {"type": "string"},
        "source": {"type": "string"},
        "type": {"type": "string"},
        "subject": {"type": "string"},
        "time": {"type": "string", "format": "date-time"},
        "collection": {"type": "string"},
        "data": UpsertData.model_json_schema(),
    },
}
BODY: dict[str, Any] = {
    "requestBody": {
        "required": True,
        "content": {
            STRUCTURED: {"schema": _EVENT},
            BATCH: {"schema": {"type": "array", "items": _EVENT}},
            "application/json": {"schema": {"anyOf": [_EVENT, UpsertData.model_json_schema()]}},
        },
    }
}
"""The OpenAPI description of a request that is read as CloudEvents; with ``ce-*`` headers the body is the data."""


class AcceptedEvent(BaseModel):
    """``status`` is PENDING for a new event; a repeated one shows how far it has come."""

    id: str
    source: str
    status: str


class AcceptedEvents(BaseModel):
    accepted: list[AcceptedEvent]


class IngestEventOut(BaseModel):
    """``outcome`` says what a COMPLETED event did, ``code`` and ``message`` why it FAILED, or is tried again.

    ``task_id`` is the task of the document's change: the document is searchable when that has ended.
    """

    source: str
    id: str
    type: str
    subject: str | None
    collection_id: str
    status: str
    outcome: str | None = None
    document_id: str | None = None
    task_id: str | None = None
    code: str | None = None
    message: str | None = None
    received: datetime
    settled: datetime | None = None
