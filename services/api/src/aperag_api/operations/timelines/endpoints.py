"""Route of timelines."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Reader
from aperag_api.operations.services import Services
from aperag_api.operations.timelines.schemas import TimelineOut

router = APIRouter(prefix="/collections/{collection_id}/documents/{document_id}", tags=["documents"])


@router.get("/timeline")
async def get_timeline(collection_id: str, document_id: str, caller: Reader, services: Services) -> TimelineOut:
    """Every stage of a document: since when, by whom, and why it waits."""
    return await services.timelines.get(caller, collection_id, document_id)
