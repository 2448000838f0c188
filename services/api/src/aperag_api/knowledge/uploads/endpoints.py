"""Routes by which documents come in (contract 1.4)."""

from __future__ import annotations

from fastapi import APIRouter, Request

from aperag_api.kernel.auth import Writer
from aperag_api.kernel.limits import unlimited
from aperag_api.kernel.multipart import MultipartBody
from aperag_api.knowledge.documents.schemas import DocumentList
from aperag_api.knowledge.services import Services
from aperag_api.knowledge.uploads.schemas import ConfirmAnswer, ConfirmRequest, UploadedDocument, form

router = APIRouter(prefix="/collections/{collection_id}/documents", tags=["documents"])


@router.post("", openapi_extra=form("files", many=True))
async def create_documents(collection_id: str, request: Request, caller: Writer, services: Services) -> DocumentList:
    """All documents of the request, or none.

    Neither bytes nor names are trusted. What is empty, or is not what its suffix says, is accepted here and ends
    FAILED with the reason when it is read. A name is its last component, composed (NFC), of up to 255 characters;
    control characters and marks that change the order of reading are refused.
    """
    return await services.uploads.accept(caller.user_id, collection_id, _body(request))


@router.post("/upload", openapi_extra=form("file", many=False))
async def upload_document(collection_id: str, request: Request, caller: Writer, services: Services) -> UploadedDocument:
    return await services.uploads.stage(caller.user_id, collection_id, _body(request))


@router.post("/confirm")
async def confirm_documents(
    collection_id: str, body: ConfirmRequest, caller: Writer, services: Services
) -> ConfirmAnswer:
    return await services.uploads.confirm(caller.user_id, collection_id, body.document_ids)


def _body(request: Request) -> MultipartBody:
    body = MultipartBody(request.headers.get("content-type", ""), unlimited(request))
    request.state.uploaded = body.received  # for the audit log: names and sizes
    return body
