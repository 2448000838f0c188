"""What can be asked of a gateway, as methods; answers are the contract's JSON."""

from __future__ import annotations

import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO

from aperag_cli.client.errors import Ambiguous, NotFound
from aperag_cli.client.events import subscribe
from aperag_cli.client.http import LONG, Http, segment

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence
    from contextlib import AbstractAsyncContextManager
    from datetime import datetime

    import httpx

    from aperag_cli.client.errors import ApiError
    from aperag_cli.client.events import Subscription
    from aperag_cli.client.http import Target

Json = dict[str, Any]

COLLECTIONS_PAGE = 1000
DOCUMENTS_PAGE = 100
_COLLECTION_ID = re.compile(r"col[0-9a-f]{16}")
_DOCUMENT_ID = re.compile(r"doc[0-9a-f]{16}")


@dataclass(frozen=True, slots=True)
class Api:
    http: Http

    async def collections(self) -> list[Json]:
        found: list[Json] = []
        while True:
            page = {"page": len(found) // COLLECTIONS_PAGE + 1, "page_size": COLLECTIONS_PAGE}
            items = (await self.http.json("GET", "/collections", params=page))["items"]
            found += items
            if len(items) < COLLECTIONS_PAGE:
                return found

    async def collection_id(self, wanted: str) -> str:
        """The id of the collection that a person named by its id or its title."""
        if _COLLECTION_ID.fullmatch(wanted):
            return wanted
        ids = [str(it["id"]) for it in await self.collections() if it["title"] == wanted]
        if not ids:
            message = f"there is no collection with the title or id {wanted!r}"
            raise NotFound(message, hint="`aperag collections list` shows all of them")
        if len(ids) > 1:
            message = f"{len(ids)} collections have the title {wanted!r}"
            raise Ambiguous(message, hint=f"name one by its id: {', '.join(ids)}")
        return ids[0]

    async def collection(self, collection_id: str) -> Json:
        return dict(await self.http.json("GET", f"/collections/{segment(collection_id)}"))

    async def create_collection(self, title: str, *, description: str = "", config: Mapping[str, object]) -> Json:
        body = {"title": title, "description": description, "type": "document", "config": dict(config)}
        return dict(await self.http.json("POST", "/collections", json=body))

    async def choose_embedding(self, collection: Json, model: Json) -> Json:
        """``collection`` as it was read; nothing else of it is changed."""
        body = {"title": collection["title"], "description": collection["description"]}
        config = {**collection["config"], "embedding": model}
        path = f"/collections/{segment(collection['id'])}"
        return dict(await self.http.json("PUT", path, json={**body, "config": config}, timeout=LONG))

    async def sharing(self, collection_id: str) -> Json:
        return dict(await self.http.json("GET", _sharing(collection_id)))

    async def share(self, collection_id: str) -> None:
        async with self.http.stream("POST", _sharing(collection_id)):
            pass  # the answer has no body

    async def unshare(self, collection_id: str) -> None:
        async with self.http.stream("DELETE", _sharing(collection_id)):
            pass

    async def delete_collection(self, collection_id: str) -> Json:
        return dict(await self.http.json("DELETE", f"/collections/{segment(collection_id)}"))

    async def documents(self, collection_id: str, *, search: str | None = None) -> list[Json]:
        """All pages, oldest first, so that documents which come meanwhile move no page."""
        found: dict[str, Json] = {}
        page = 1
        while True:
            query: dict[str, str | int] = {"page": page, "page_size": DOCUMENTS_PAGE, "sort_order": "asc"}
            if search is not None:
                query["search"] = search
            answer = await self.http.json("GET", f"{_documents(collection_id)}", params=query)
            found.update((it["id"], it) for it in answer["items"])
            if not answer.get("has_next"):
                return list(found.values())
            page += 1

    async def document_id(self, collection_id: str, wanted: str) -> str:
        """The id of the document that a person named by its id or its name, which is unique in a collection."""
        if _DOCUMENT_ID.fullmatch(wanted):
            return wanted
        for document in await self.documents(collection_id, search=wanted):
            if document["name"] == wanted:
                return str(document["id"])
        message = f"this collection has no document with the name or id {wanted!r}"
        raise NotFound(message, hint="`aperag documents list COLLECTION` shows all of them")

    async def document(self, collection_id: str, document_id: str) -> Json:
        return dict(await self.http.json("GET", f"{_documents(collection_id)}/{segment(document_id)}"))

    async def upload(self, collection_id: str, parts: Sequence[tuple[str, BinaryIO, str]]) -> list[Json]:
        """One request for ``(name, content, media type)``s: all are accepted, or none; safe to repeat."""
        files = [("files", part) for part in parts]
        return list((await self.http.json("POST", _documents(collection_id), files=files))["items"])

    async def delete_document(self, collection_id: str, document_id: str) -> Json:
        return dict(await self.http.json("DELETE", f"{_documents(collection_id)}/{segment(document_id)}"))

    async def cancel_document(self, collection_id: str, document_id: str) -> Json:
        return dict(await self.http.json("POST", f"{_documents(collection_id)}/{segment(document_id)}/cancel"))

    async def cancel_collection(self, collection_id: str) -> Json:
        path = f"/collections/{segment(collection_id)}/cancel"
        return dict(await self.http.json("POST", path, timeout=LONG))

    async def rebuild(self, collection_id: str, document_id: str, indexes: Sequence[str]) -> Json:
        path = f"{_documents(collection_id)}/{segment(document_id)}/rebuild_indexes"
        return dict(await self.http.json("POST", path, json={"index_types": [it.upper() for it in indexes]}))

    async def rebuild_failed(self, collection_id: str) -> Json:
        path = f"/collections/{segment(collection_id)}/rebuild_failed_indexes"
        return dict(await self.http.json("POST", path, timeout=LONG))

    async def sha256(self, collection_id: str, document_id: str) -> str | None:
        """Of a document's bytes, without fetching them; None where the gateway does not tell."""
        async with self._content(collection_id, document_id, {"Range": "bytes=0-0"}) as response:
            return str(response.headers.get("ETag", "")).strip('"') or None

    @asynccontextmanager
    async def download(self, collection_id: str, document_id: str) -> AsyncIterator[AsyncIterator[bytes]]:
        async with self._content(collection_id, document_id, {}) as response:
            yield response.aiter_bytes()

    async def search(self, collection_id: str, body: Mapping[str, object]) -> Json:
        return dict(await self.http.json("POST", f"/collections/{segment(collection_id)}/searches", json=body))

    async def task(self, task_id: str) -> Json:
        return dict(await self.http.json("GET", f"/tasks/{segment(task_id)}"))

    async def cancel_task(self, task_id: str) -> Json:
        return dict(await self.http.json("POST", f"/tasks/{segment(task_id)}/cancel"))

    async def keys(self) -> list[Json]:
        return list((await self.http.json("GET", "/apikeys"))["items"])

    async def create_key(self, description: str | None, **limits: object) -> Json:
        return dict(await self.http.json("POST", "/apikeys", json={"description": description, **limits}))

    async def revoke_key(self, key_id: str) -> None:
        if not await self.http.json("DELETE", f"/apikeys/{segment(key_id)}"):
            message = f"API key {key_id} not found"
            raise NotFound(message, hint="`aperag keys list` shows the ids of all of them")

    def events(
        self, *, since: str | datetime | None = None, on_loss: Callable[[ApiError], None] = lambda _: None
    ) -> AbstractAsyncContextManager[Subscription]:
        return subscribe(self.http, since=since, on_loss=on_loss)

    def _content(
        self, collection_id: str, document_id: str, headers: Mapping[str, str]
    ) -> AbstractAsyncContextManager[httpx.Response]:
        path = f"{_documents(collection_id)}/{segment(document_id)}/download"
        return self.http.stream("GET", path, headers=dict(headers))


@asynccontextmanager
async def connect(target: Target, *, transport: httpx.AsyncBaseTransport | None = None) -> AsyncIterator[Api]:
    http = Http(target, transport=transport)
    try:
        yield Api(http)
    finally:
        await http.close()


def _sharing(collection_id: str) -> str:
    return f"/collections/{segment(collection_id)}/sharing"


def _documents(collection_id: str) -> str:
    return f"/collections/{segment(collection_id)}/documents"
