"""Routes of tasks."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.auth import ScopedReader, ScopedWriter, Writer
from aperag_api.gateway import Services
from aperag_api.tasks.schemas import CancelledCollection, CancelledDocument, TaskOut

router = APIRouter(tags=["tasks"])


@router.get("/tasks/{task_id}")
async def get_task(task_id: str, caller: ScopedReader, services: Services) -> TaskOut:
    return await services.tasks.get(caller, task_id)


@router.post("/tasks/{task_id}/cancel")
async def cancel_task(task_id: str, caller: ScopedWriter, services: Services) -> TaskOut:
    return await services.tasks.cancel(caller, task_id)


@router.post("/collections/{collection_id}/documents/{document_id}/cancel")
async def cancel_document(
    collection_id: str, document_id: str, caller: Writer, services: Services
) -> CancelledDocument:
    """Every running task of the document; 409 where none runs."""
    return await services.tasks.cancel_document(caller.user_id, collection_id, document_id)


@router.post("/collections/{collection_id}/cancel")
async def cancel_collection(collection_id: str, caller: Writer, services: Services) -> CancelledCollection:
    """Every task of the collection that was running when this was asked for; none is no error."""
    return await services.tasks.cancel_collection(caller.user_id, collection_id)
