"""Routes of the files of a chat (contract 1.8)."""

from __future__ import annotations

from fastapi import APIRouter, Request

from aperag_api.kernel.auth import Reader, ScopedReader, Writer, keep_within_chat
from aperag_api.kernel.limits import unlimited
from aperag_api.kernel.multipart import MultipartBody
from aperag_api.knowledge.documents.schemas import DocumentList, DocumentOut
from aperag_api.knowledge.searches.schemas import SearchIn, SearchOut
from aperag_api.knowledge.services import Services
from aperag_api.knowledge.uploads.schemas import form

router = APIRouter(prefix="/chats/{chat_id}", tags=["chats"])


@router.post("/documents", openapi_extra=form("file", many=False))
async def upload_chat_document(chat_id: str, request: Request, caller: Writer, services: Services) -> DocumentOut:
    """Found by searches of this chat only, within seconds, and gone with the chat."""
    body = MultipartBody(request.headers.get("content-type", ""), unlimited(request))
    request.state.uploaded = body.received  # for the audit log: names and sizes
    return await services.chat_documents.upload(caller.user_id, chat_id, body)


@router.get("/documents")
async def list_chat_documents(chat_id: str, caller: Reader, services: Services) -> DocumentList:
    return await services.chat_documents.list(caller.user_id, chat_id)


@router.get("/documents/{chat_document_id}")
async def get_chat_document(chat_id: str, chat_document_id: str, caller: Reader, services: Services) -> DocumentOut:
    return await services.chat_documents.get(caller.user_id, chat_id, chat_document_id)


@router.delete("/documents/{chat_document_id}")
async def delete_chat_document(chat_id: str, chat_document_id: str, caller: Writer, services: Services) -> DocumentOut:
    return await services.chat_documents.delete(caller.user_id, chat_id, chat_document_id)


@router.post("/search")
async def search_chat(chat_id: str, body: SearchIn, caller: ScopedReader, services: Services) -> SearchOut:
    """As the search of a collection, among the chat's files; what was just uploaded is waited for."""
    keep_within_chat(caller, chat_id)
    return await services.chat_documents.search(caller.user_id, chat_id, body)
