"""Documents and collections as resources: what a client can attach without a tool call."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import Any

from fastmcp import FastMCP

from aperag_mcp.documents.texts import read
from aperag_mcp.gateway.client import Gateway, id_of

JSON = "application/json"
MARKDOWN = "text/markdown"
COLLECTIONS = "aperag://collections"
COLLECTION = "aperag://collections/{collection_id}"
DOCUMENTS = "aperag://collections/{collection_id}/documents"
DOCUMENT = "aperag://collections/{collection_id}/documents/{document_id}"
PAGE = 100


@dataclass(frozen=True, slots=True)
class Resources:
    gateway: Gateway
    characters: int

    async def collections(self) -> str:
        """The collections that you may search."""
        return _json(await self.gateway.get("collections", params={"page_size": PAGE}))

    async def collection(self, collection_id: str) -> str:
        """One collection with its configuration."""
        return _json(await self.gateway.get("collections", id_of("collection", collection_id)))

    async def documents(self, collection_id: str) -> str:
        """The newest documents of a collection; list_documents gives the others."""
        path = ("collections", id_of("collection", collection_id), "documents")
        return _json(await self.gateway.get(*path, params={"page_size": PAGE}))

    async def document(self, collection_id: str, document_id: str) -> str:
        """The text of a document as Markdown, from its beginning."""
        page = await read(self.gateway, collection_id, document_id, offset=0, characters=self.characters)
        more = f"\n\n[… read_document with offset {page.next_offset} goes on]\n" if page.next_offset else ""
        return page.text + more


def register(mcp: FastMCP, gateway: Gateway, *, characters: int) -> None:
    resources = Resources(gateway, characters)
    mcp.resource(COLLECTIONS, name="collections", title="Collections", mime_type=JSON)(resources.collections)
    mcp.resource(COLLECTION, name="collection", title="A collection", mime_type=JSON)(resources.collection)
    mcp.resource(DOCUMENTS, name="documents", title="Documents of a collection", mime_type=JSON)(resources.documents)
    mcp.resource(DOCUMENT, name="document", title="A document", mime_type=MARKDOWN)(resources.document)


def _json(answer: Any) -> str:
    return json.dumps(answer, ensure_ascii=False, indent=2)
