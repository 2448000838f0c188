"""Pages of the documents of a collection."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse, RedirectResponse, StreamingResponse
from starlette.routing import Route

from aperag_console.documents.timeline import waterfall_of
from aperag_console.web.forms import form_of
from aperag_console.web.page import open_page
from aperag_console.web.paging import Slice, slice_of
from aperag_console.web.streams import passed_on
from aperag_console.web.waterfall import FULL

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.page import Page

PAGE_SIZE = 25
STATUSES = ("RUNNING", "PENDING", "FAILED", "COMPLETE")
SORTS = ("name", "status", "size", "created", "updated")
KINDS = ("vector", "fulltext", "graph", "summary", "vision")
SKIPPED = "SKIPPED"
FAILED = "FAILED"
CHUNKS_PER_PAGE = 50
PICTURES = (".png", ".jpg", ".jpeg", ".webp", ".gif")
SHOWN = (".pdf", *PICTURES)
AS_IT_IS = {
    "Content-Disposition": "inline",
    "Content-Security-Policy": "script-src 'none'; frame-ancestors 'none'",
    "X-Content-Type-Options": "nosniff",
}
"""Of what somebody uploaded: it runs nothing. A browser's own view of a PDF needs what our pages' policy forbids."""


async def show(request: Request) -> Response:
    page, collection_id = await open_page(request), request.path_params["collection_id"]
    sort = page.query("sort") if page.query("sort") in SORTS else "updated"
    order = "asc" if page.query("order") == "asc" else "desc"
    status = page.query("status") if page.query("status") in STATUSES else ""
    asked = {"search": page.query("search"), "status": status, "sort_by": sort, "sort_order": order}
    collection, found = await asyncio.gather(
        page.api.get("collections", collection_id),
        page.api.get(
            "collections", collection_id, "documents", page=page.number("page", 1), page_size=PAGE_SIZE, **asked
        ),
    )
    return page.render(
        "documents.html",
        collection=collection,
        found=found,
        sort=sort,
        order=order,
        wanted=status,
        statuses=STATUSES,
    )


async def upload(request: Request) -> Response:
    """The form goes on to the gateway while it arrives: a file is never here as a whole."""
    page, collection_id = await open_page(request), request.path_params["collection_id"]
    passed = {name: request.headers[name] for name in ("content-type", "content-length") if name in request.headers}
    path = ("collections", collection_id, "documents")
    answer = await page.api.upload(*path, content=request.stream(), headers=passed)
    if "text/html" in request.headers.get("accept", ""):
        return RedirectResponse(f"/collections/{collection_id}", 303)
    return JSONResponse(answer.json())


async def act_on_many(request: Request) -> Response:
    """On the chosen documents, or on all of the collection that it applies to."""
    page, form, collection_id = await open_page(request), await form_of(request), request.path_params["collection_id"]
    back, path = f"/collections/{collection_id}", ("collections", collection_id)
    match form.text("action"):
        case "retry_failed":
            done = await page.api.post(*path, "rebuild_failed_indexes")
            return page.go(back, "documents.retried_many", n=done["affected_documents"])
        case "cancel_all":
            done = await page.api.post(*path, "cancel")
            return page.go(back, "documents.cancelled_many", n=done["affected_documents"])
        case "delete" if chosen := form.texts("document"):
            await page.api.delete(*path, "documents", body=chosen)
            return page.go(back, "documents.deleted_many", n=len(chosen))
    return page.go(back, "documents.none_chosen")


async def show_one(request: Request) -> Response:
    page, path = await open_page(request), _path(request)
    collection, document, timeline, preview = await asyncio.gather(
        page.api.get(*path[:2]),
        page.api.get(*path),
        page.api.get(*path, "timeline"),
        page.api.get(*path, "preview"),
    )
    return page.render(
        "document.html",
        collection=collection,
        document=document,
        timeline=timeline,
        bars=waterfall_of(timeline, page.texts),
        full=FULL,
        preview=preview,
        chunks=_chunks(page, preview["chunks"]),
        original=original_of(preview),
        picture=preview["doc_object_path"].lower().endswith(PICTURES),
        view=page.query("view", "chunks"),
        kinds=[kind for kind in KINDS if document[f"{kind}_index_status"] != SKIPPED],
        failed=[kind for kind in KINDS if document[f"{kind}_index_status"] == FAILED],
    )


def _chunks(page: Page, chunks: list[dict[str, Any]]) -> Slice:
    """The page that the address asks for, or the one with the chunk that a citation leads to."""
    wanted = page.query("chunk")
    cited = next((number for number, it in enumerate(chunks) if it["id"] == wanted), None)
    number = page.number("page", 1) if cited is None else cited // CHUNKS_PER_PAGE + 1
    return slice_of(chunks, number, CHUNKS_PER_PAGE)


async def act(request: Request) -> Response:
    page, form, path = await open_page(request), await form_of(request), _path(request)
    here = f"/collections/{path[1]}/documents/{path[3]}"
    match form.text("action"):
        case "rebuild" if kinds := form.texts("kind"):
            await _rebuild(page, path, kinds)
            return page.go(here, "documents.rebuilding")
        case "cancel":
            await page.api.post(*path, "cancel")
            return page.go(here, "documents.cancelled")
        case "delete":
            await page.api.delete(*path)
            return page.go(f"/collections/{path[1]}", "documents.deleted")
    return page.go(here, "documents.none_chosen")


async def _rebuild(page: Page, path: tuple[str, ...], kinds: list[str]) -> Any:
    return await page.api.post(*path, "rebuild_indexes", body={"index_types": [kind.upper() for kind in kinds]})


async def download(request: Request) -> Response:
    page, opened = await open_page(request), AsyncExitStack()
    answer = await opened.enter_async_context(page.api.stream(*_path(request), "download"))
    names = ("content-type", "content-length", "content-disposition")
    headers = {name: answer.headers[name] for name in names if name in answer.headers}
    return StreamingResponse(passed_on(opened, answer), headers=headers)


async def show_original(request: Request) -> Response:
    """Pages as they were printed, and pictures, which browsers show by themselves; anything else is downloaded."""
    page, path, opened = await open_page(request), _path(request), AsyncExitStack()
    wanted = original_of(await page.api.get(*path, "preview"))
    if wanted is None:
        return RedirectResponse(f"/{'/'.join(path)}/download", 303)
    passed = {name: request.headers[name] for name in ("range", "if-range") if name in request.headers}
    answer = await opened.enter_async_context(page.api.stream(*path, "object", params={"path": wanted}, headers=passed))
    names = ("content-type", "content-length", "content-range", "accept-ranges")
    headers = {name: answer.headers[name] for name in names if name in answer.headers}
    return StreamingResponse(passed_on(opened, answer), answer.status_code, headers={**headers, **AS_IT_IS})


def original_of(preview: Mapping[str, Any]) -> str | None:
    """The object that shows the document as it was made: its pages, or the picture that it is."""
    wanted: str = preview["converted_pdf_object_path"] or preview["doc_object_path"]
    return wanted if wanted.lower().endswith(SHOWN) else None


def _path(request: Request) -> tuple[str, ...]:
    return "collections", request.path_params["collection_id"], "documents", request.path_params["document_id"]


ONE = "/collections/{collection_id}/documents/{document_id}"
ROUTES = [
    Route("/collections/{collection_id}", show),
    Route("/collections/{collection_id}", act_on_many, methods=["POST"]),
    Route("/collections/{collection_id}/documents", upload, methods=["POST"]),
    Route(ONE, show_one),
    Route(ONE, act, methods=["POST"]),
    Route(f"{ONE}/download", download),
    Route(f"{ONE}/original", show_original),
]
