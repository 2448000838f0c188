"""Routes that cancel what is under way."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Writer
from aperag_api.knowledge.cancellation.schemas import CancelledCollection, CancelledDocument
from aperag_api.knowledge.services import Services

router = APIRouter(prefix="/collections/{collection_id}", tags=["tasks"])


@router.post("/documents/{document_id}/cancel")
async def cancel_document(
    collection_id: str, document_id: str, caller: Writer, services: Services
) -> CancelledDocument:
    """Every running task of the document; 409 where none runs."""
    return await services.cancellation.of_document(caller.user_id, collection_id, document_id)


@router.post("/cancel")
async def cancel_collection(collection_id: str, caller: Writer, services: Services) -> CancelledCollection:
    """Every task of the collection that was running when this was asked for; none is no error."""
    return await services.cancellation.of_collection(caller.user_id, collection_id)
