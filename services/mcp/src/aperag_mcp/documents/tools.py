"""The tools of documents."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Annotated

from fastmcp import Context, FastMCP
from mcp_types import ToolAnnotations
from pydantic import Field

from aperag_mcp.documents import adding, status, texts
from aperag_mcp.documents.schemas import AddedDocument, Document, DocumentList, DocumentStatus, DocumentText
from aperag_mcp.gateway.client import Gateway, id_of

READS = ToolAnnotations(read_only_hint=True, destructive_hint=False, idempotent_hint=True, open_world_hint=False)
ADDS = ToolAnnotations(read_only_hint=False, destructive_hint=False, idempotent_hint=True, open_world_hint=True)
PAGE_CHARACTERS = 20_000
MOST_WAIT_SECONDS = 600

CollectionId = Annotated[str, Field(description="Id of the collection, from list_collections.")]
DocumentId = Annotated[str, Field(description="Id of the document, from list_documents or a search.")]


@dataclass(frozen=True, slots=True)
class DocumentTools:
    gateway: Gateway
    characters: int

    async def list_documents(
        self,
        collection_id: CollectionId,
        page: Annotated[int, Field(ge=1, le=1_000_000, description="Which page, from 1.")] = 1,
        page_size: Annotated[int, Field(ge=1, le=100, description="Documents per page.")] = 20,
        search: Annotated[str, Field(max_length=255, description="Only documents whose name holds this.")] = "",
    ) -> DocumentList:
        """List the documents of a collection with their status, the newest first."""
        params: dict[str, str | int] = {"page": page, "page_size": page_size}
        if search.strip():
            params["search"] = search.strip()
        path = ("collections", id_of("collection", collection_id), "documents")
        return DocumentList.model_validate(await self.gateway.get(*path, params=params))

    async def read_document(
        self,
        collection_id: CollectionId,
        document_id: DocumentId,
        offset: Annotated[int, Field(ge=0, description="0, or the next_offset of the page before.")] = 0,
        limit: Annotated[int, Field(ge=100, description="Most characters of text to return.")] = PAGE_CHARACTERS,
    ) -> DocumentText:
        """Read the text of a document as Markdown, page by page: go on with `next_offset` until it is null."""
        characters = min(limit, self.characters)
        return await texts.read(self.gateway, collection_id, document_id, offset=offset, characters=characters)

    async def add_document(
        self,
        ctx: Context,
        collection_id: CollectionId,
        text: Annotated[str, Field(description="The document's text, as Markdown; or give a url.")] = "",
        url: Annotated[str, Field(max_length=4_000, description="A web page to read; or give a text.")] = "",
        name: Annotated[str, Field(max_length=200, description="Its name; without an ending, .md is added.")] = "",
        wait: Annotated[bool, Field(description="Return once it can be searched.")] = False,  # noqa: FBT002  as JSON
        wait_seconds: Annotated[int, Field(ge=1, le=MOST_WAIT_SECONDS, description="How long to wait at most.")] = 60,
    ) -> AddedDocument:
        """Add a document to a collection, from text or from a web page.

        It becomes searchable a moment later; with `wait` the call returns when it is. Adding the same text under the
        same name again changes nothing; other text under that name is refused.
        """
        new = await adding.compose(self.gateway, ctx, text=text, url=url, name=name)
        added = await adding.upload(self.gateway, id_of("collection", collection_id), new)
        if wait:
            return await adding.await_searchable(self.gateway, ctx, collection_id, added, seconds=wait_seconds)
        return adding.told(added)

    async def document_status(self, collection_id: CollectionId, document_id: DocumentId) -> DocumentStatus:
        """Say whether a document can be searched, and if not, what it waits for or why it failed."""
        path = texts.path_of(collection_id, document_id)
        document, timeline = await asyncio.gather(self.gateway.get(*path), status.timeline(self.gateway, path))
        return status.status_of(Document.model_validate(document), timeline)


def register(mcp: FastMCP, gateway: Gateway, *, characters: int) -> None:
    tools = DocumentTools(gateway, characters)
    mcp.tool(tools.list_documents, title="List documents", annotations=READS)
    mcp.tool(tools.read_document, title="Read a document", annotations=READS)
    mcp.tool(tools.add_document, title="Add a document", annotations=ADDS)
    mcp.tool(tools.document_status, title="Status of a document", annotations=READS)
