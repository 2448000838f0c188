"""Routes of published collections (contract 1.14): to look at them takes no login."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Response

from aperag_api.access.decide import Right
from aperag_api.kernel.auth import Anyone, Manager, ScopedReader, Visiting
from aperag_api.kernel.paging import Page, Paged, SortOrder, paged
from aperag_api.knowledge.contents.endpoints import ObjectPath, Ranged
from aperag_api.knowledge.contents.schemas import Preview
from aperag_api.knowledge.documents.schemas import DocumentOut, DocumentSort
from aperag_api.knowledge.marketplace.schemas import SharedCollection, SharedCollectionList, Unsubscribed
from aperag_api.knowledge.services import Services

router = APIRouter(prefix="/marketplace/collections", tags=["marketplace"])


@router.get("")
async def list_published(
    caller: Anyone, services: Services, page: Annotated[Page, paged(30, most=100)]
) -> SharedCollectionList:
    """Newest first."""
    return await services.marketplace.list(caller, page=page)


@router.get("/subscriptions")
async def list_subscriptions(
    caller: ScopedReader, services: Services, page: Annotated[Page, paged(30, most=100)]
) -> SharedCollectionList:
    return await services.marketplace.list(caller, subscribed=True, page=page)


@router.post("/{collection_id}/subscribe")
async def subscribe(collection_id: str, caller: Manager, services: Services) -> SharedCollection:
    """From now on it stands among the caller's collections, and may be read like these."""
    return await services.marketplace.subscribe(caller.user_id, collection_id)


@router.delete("/{collection_id}/subscribe")
async def unsubscribe(collection_id: str, caller: Manager, services: Services) -> Unsubscribed:
    return await services.marketplace.unsubscribe(caller.user_id, collection_id)


@router.get("/{collection_id}")
async def get_published(collection_id: str, caller: Visiting, services: Services) -> SharedCollection:
    return await services.marketplace.get(caller, collection_id)


@router.get("/{collection_id}/documents")
async def list_published_documents(
    collection_id: str,
    _: Visiting,
    services: Services,
    page: Annotated[Page, paged(10, most=100)],
    sort_by: DocumentSort = DocumentSort.CREATED,
    sort_order: SortOrder = SortOrder.DESC,
    search: str | None = None,
) -> Paged[DocumentOut]:
    return await services.documents.list(
        None, collection_id, right=Right.VISIT, page=page, sort=sort_by, order=sort_order,
        search=search,
    )  # fmt: skip


@router.get("/{collection_id}/documents/{document_id}/preview")
async def preview_published_document(collection_id: str, document_id: str, _: Visiting, services: Services) -> Preview:
    return await services.contents.preview(None, collection_id, document_id)


@router.get("/{collection_id}/documents/{document_id}/object", response_class=Response)
async def get_published_object(
    collection_id: str, document_id: str, path: ObjectPath, wanted: Ranged, _: Visiting, services: Services
) -> Response:
    return await services.contents.object(None, collection_id, document_id, path, wanted)
