"""Pages of the administration."""

from __future__ import annotations

import asyncio
import json
from typing import TYPE_CHECKING

from starlette.routing import Route

from aperag_console.admin import models, users
from aperag_console.web.forms import form_of
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

QUOTAS = ("max_collection_count", "max_document_count", "max_document_count_per_collection", "max_bot_count")
AUDIT_FILTERS = ("username", "api_name", "resource_type", "http_method", "status_code")
AUDIT_SIZE = 25


async def show_settings(request: Request) -> Response:
    page = await open_page(request, admin=True)
    settings, quotas = await asyncio.gather(page.api.get("settings"), page.api.get("system", "default-quotas"))
    return page.render("settings.html", settings=settings, quotas=quotas["quotas"], names=QUOTAS)


async def save_settings(request: Request) -> Response:
    page, form = await open_page(request, admin=True), await form_of(request)
    if form.text("action") == "quotas":
        limits = {name: form.number(name) for name in QUOTAS}
        await page.api.put("system", "default-quotas", body={"quotas": limits})
    else:
        switches = {name: form.ticked(name) for name in ("use_mineru", "use_doc_ray", "use_markitdown")}
        token = form.text("mineru_api_token")
        await page.api.put("settings", body=switches | ({"mineru_api_token": token} if token else {}))
    return page.go("/admin/settings", "settings.saved")


async def show_audit(request: Request) -> Response:
    page = await open_page(request, admin=True)
    asked = {name: page.query(name) for name in AUDIT_FILTERS}
    found = await page.api.get("audit-logs", page=page.number("page", 1), page_size=AUDIT_SIZE, **asked)
    return page.render("audit.html", found=found, filters=AUDIT_FILTERS)


async def show_audit_entry(request: Request) -> Response:
    page = await open_page(request, admin=True)
    entry = await page.api.get("audit-logs", request.path_params["entry_id"])
    data = {name: json.loads(entry[name]) for name in ("request_data", "response_data") if entry[name]}
    return page.render("audit_entry.html", entry=entry, data=data)


ROUTES = [
    *users.ROUTES,
    *models.ROUTES,
    Route("/admin/settings", show_settings),
    Route("/admin/settings", save_settings, methods=["POST"]),
    Route("/admin/audit", show_audit),
    Route("/admin/audit/{entry_id}", show_audit_entry),
]
