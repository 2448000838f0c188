"""What was cancelled."""

from __future__ import annotations

from pydantic import BaseModel

from aperag_api.knowledge.documents.schemas import DocumentOut


class CancelledDocument(BaseModel):
    """``document`` as the cancel left it, ``task_ids`` what was cancelled."""

    document: DocumentOut
    task_ids: list[str]


class CancelledCollection(BaseModel):
    """Numbers, for there may be very many; a document may have had more than one task."""

    collection_id: str
    cancelled_tasks: int
    affected_documents: int
