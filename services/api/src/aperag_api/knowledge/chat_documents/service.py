"""Adding, reading and searching the files of a chat."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access import chats
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.chat_documents.home import find_home, provide_home
from aperag_api.knowledge.documents import repository as documents
from aperag_api.knowledge.documents.schemas import DocumentList
from aperag_api.knowledge.documents.service import not_found, view
from aperag_api.knowledge.searches.schemas import FulltextSearch, VectorSearch

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.multipart import MultipartBody
    from aperag_api.knowledge.documents.schemas import DocumentOut
    from aperag_api.knowledge.documents.service import DocumentService
    from aperag_api.knowledge.searches.schemas import SearchIn, SearchOut
    from aperag_api.knowledge.searches.service import SearchService
    from aperag_api.knowledge.uploads.service import UploadService

MOST = 1000
"""Files of one chat that are listed and waited for."""


@dataclass(frozen=True, slots=True)
class ChatDocumentService:
    """Every call raises ``ChatNotFound`` where the chat is not the owner's."""

    engine: AsyncEngine
    uploads: UploadService
    documents: DocumentService
    searches: SearchService
    embedding_model: str

    async def upload(self, owner: str, chat_id: str, body: MultipartBody) -> DocumentOut:
        return await self.uploads.accept_in_chat(owner, await self._home(owner, chat_id), chat_id, body)

    async def list(self, owner: str, chat_id: str) -> DocumentList:
        async with reading(self.engine) as conn:
            await chats.require_chat(conn, owner, chat_id)
            home = await find_home(conn, owner)
            rows = [] if home is None else await documents.of_chat(conn, home, chat_id, owner, limit=MOST)
        return DocumentList(items=[view(row) for row in rows])

    async def get(self, owner: str, chat_id: str, document_id: str) -> DocumentOut:
        """Raises ``DocumentNotFound`` for what is no file of this chat."""
        async with reading(self.engine) as conn:
            await chats.require_chat(conn, owner, chat_id)
            home = await find_home(conn, owner)
            row = None if home is None else await documents.in_chat(conn, home, chat_id, document_id, owner)
        if row is None or row.deleted:
            raise not_found(document_id)
        return view(row)

    async def delete(self, owner: str, chat_id: str, document_id: str) -> DocumentOut:
        """Idempotent for as long as the tombstone is there."""
        async with reading(self.engine) as conn:
            await chats.require_chat(conn, owner, chat_id)
            home = await find_home(conn, owner)
            row = None if home is None else await documents.in_chat(conn, home, chat_id, document_id, owner)
        if row is None:
            raise not_found(document_id)
        return await self.documents.delete(owner, row.collection_id, document_id)

    async def search(self, owner: str, chat_id: str, body: SearchIn) -> SearchOut:
        """By meaning and words where the question names no kind of search; waits for what was just uploaded."""
        async with reading(self.engine) as conn:
            await chats.require_chat(conn, owner, chat_id)
            home = await find_home(conn, owner)
            files = await chats.documents(conn, owner, chat_id, limit=MOST)
        if not any(getattr(body, kind) for kind in _KINDS):
            body = body.model_copy(update={"vector_search": VectorSearch(), "fulltext_search": FulltextSearch()})
        if not body.wait_for:
            body = body.model_copy(update={"wait_for": list(files)})
        return await self.searches.search_chat(owner, home, chat_id, body)

    async def _home(self, owner: str, chat_id: str) -> str:
        """The collection for the files of the owner's chats, made anew where it was deleted."""
        async with reading(self.engine) as conn:
            await chats.require_chat(conn, owner, chat_id)
            home = await find_home(conn, owner)
        if home is not None:
            return home
        async with self.engine.begin() as conn:
            return await provide_home(conn, owner, model=self.embedding_model)


_KINDS = ("vector_search", "fulltext_search", "graph_search", "summary_search", "vision_search")
