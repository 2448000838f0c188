"""Pages of collections."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.responses import JSONResponse
from starlette.routing import Route

from aperag_console.collections.listing import counted, every
from aperag_console.collections.settings import KINDS, LANGUAGES, config_of, language_for
from aperag_console.models import choices
from aperag_console.web.forms import form_of
from aperag_console.web.page import open_page
from aperag_console.web.paging import slice_of

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

PAGE_SIZE = 12


async def show(request: Request) -> Response:
    page = await open_page(request)
    wanted = page.query("search").casefold()
    found = [it for it in await every(page.api) if wanted in it["title"].casefold()]
    shown = slice_of(found, page.number("page", 1), PAGE_SIZE)
    shown.items = await counted(page.api, shown.items)
    return page.render("collections.html", found=shown)


async def show_new(request: Request) -> Response:
    page = await open_page(request)
    return page.render(
        "collection_new.html",
        collection=None,
        kinds=KINDS,
        languages_of_documents=LANGUAGES,
        language=language_for(page.texts.language),
        embeddings=choices(await page.api.post("available_models", body={"tag_filters": []}), "embedding"),
    )


async def create(request: Request) -> Response:
    page, form = await open_page(request), await form_of(request)
    body = {"title": form.text("title"), "description": form.text("description"), "config": config_of(form, {})}
    made = await page.api.post("collections", body=body)
    return page.go(f"/collections/{made['id']}", "collections.created", title=made["title"])


async def create_first(request: Request) -> Response:
    """For whoever drops files before there is any collection."""
    page = await open_page(request)
    own = [it for it in await every(page.api) if it["subscription_id"] is None]
    if not own:
        language = language_for(page.texts.language)
        body = {"title": page.texts("collections.first"), "config": {"language": language}}
        own = [await page.api.post("collections", body=body)]
    if "text/html" in request.headers.get("accept", ""):  # no script: the files are chosen again there
        return page.go(f"/collections/{own[0]['id']}", "collections.created", title=own[0]["title"])
    return JSONResponse({"upload": f"/collections/{own[0]['id']}/documents"})


async def show_settings(request: Request) -> Response:
    page, collection_id = await open_page(request), request.path_params["collection_id"]
    collection, documents, models = await asyncio.gather(
        page.api.get("collections", collection_id),
        page.api.get("collections", collection_id, "documents", page_size=1),
        page.api.post("available_models", body={"tag_filters": []}),
    )
    return page.render(
        "collection_settings.html",
        collection=collection,
        documents=documents["total"],
        kinds=KINDS,
        languages_of_documents=LANGUAGES,
        embeddings=choices(models, "embedding"),
    )


async def save(request: Request) -> Response:
    """What the form does not show stays as it is: the gateway replaces the whole configuration."""
    page, form = await open_page(request), await form_of(request)
    path = ("collections", request.path_params["collection_id"])
    before: dict[str, Any] = await page.api.get(*path)
    body = {
        "title": form.text("title"),
        "description": form.text("description"),
        "config": config_of(form, before["config"]),
    }
    await page.api.put(*path, body=body)
    return page.go(f"/collections/{path[1]}/settings", "collections.saved")


async def share(request: Request) -> Response:
    page, form = await open_page(request), await form_of(request)
    collection_id = request.path_params["collection_id"]
    if form.ticked("publish"):
        await page.api.post("collections", collection_id, "sharing")
    else:
        await page.api.delete("collections", collection_id, "sharing")
    said = "collections.published" if form.ticked("publish") else "collections.unpublished"
    return page.go(f"/collections/{collection_id}/settings", said)


async def delete(request: Request) -> Response:
    page = await open_page(request)
    await page.api.delete("collections", request.path_params["collection_id"])
    return page.go("/collections", "collections.deleted")


ROUTES = [
    Route("/collections", show),
    Route("/collections", create, methods=["POST"]),
    Route("/collections/new", show_new),
    Route("/collections/first", create_first, methods=["POST"]),
    Route("/collections/{collection_id}/settings", show_settings),
    Route("/collections/{collection_id}/settings", save, methods=["POST"]),
    Route("/collections/{collection_id}/sharing", share, methods=["POST"]),
    Route("/collections/{collection_id}/delete", delete, methods=["POST"]),
]
