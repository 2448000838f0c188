"""Routes of documents that are there (contract 1.4); uploads and contents have their own."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Body, Query

from aperag_api.kernel.auth import Reader, Writer
from aperag_api.kernel.paging import Page, SortOrder, paged
from aperag_api.knowledge.documents.schemas import (
    DeletedDocuments,
    DocumentOut,
    DocumentPage,
    DocumentSort,
    RebuildAnswer,
    RebuildFailedAnswer,
    RebuildRequest,
    Statuses,
)
from aperag_api.knowledge.services import Services

router = APIRouter(prefix="/collections/{collection_id}", tags=["documents"])


@router.get("/documents")
async def list_documents(
    collection_id: str,
    caller: Reader,
    services: Services,
    page: Annotated[Page, paged(10, most=100)],
    sort_by: DocumentSort = DocumentSort.CREATED,
    sort_order: SortOrder = SortOrder.DESC,
    search: str | None = None,
    status: Annotated[Statuses, Query(description="only documents in one of these")] = [],  # noqa: B006  never changed
) -> DocumentPage:
    return await services.documents.list(
        caller.user_id, collection_id, page=page, sort=sort_by, order=sort_order, search=search, statuses=status
    )


@router.get("/documents/{document_id}")
async def get_document(collection_id: str, document_id: str, caller: Reader, services: Services) -> DocumentOut:
    return await services.documents.get(caller.user_id, collection_id, document_id)


@router.delete("/documents/{document_id}")
async def delete_document(collection_id: str, document_id: str, caller: Writer, services: Services) -> DocumentOut:
    return await services.documents.delete(caller.user_id, collection_id, document_id)


@router.delete("/documents")
async def delete_documents(
    collection_id: str, document_ids: Annotated[list[str], Body(max_length=10_000)], caller: Writer, services: Services
) -> DeletedDocuments:
    return await services.documents.delete_many(caller.user_id, collection_id, document_ids)


@router.post("/documents/{document_id}/rebuild_indexes")
async def rebuild_indexes(
    collection_id: str, document_id: str, body: RebuildRequest, caller: Writer, services: Services
) -> RebuildAnswer:
    return await services.documents.rebuild(caller.user_id, collection_id, document_id, body.index_types)


@router.post("/rebuild_failed_indexes")
async def rebuild_failed_indexes(collection_id: str, caller: Writer, services: Services) -> RebuildFailedAnswer:
    return await services.documents.rebuild_failed(caller.user_id, collection_id)
