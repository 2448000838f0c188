"""The page of jobs: one's own, for administrators everybody's; all that match are retried or cancelled after a count."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from aperag_console.collections.listing import every
from aperag_console.web.forms import form_of
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.forms import Form
    from aperag_console.web.page import Page

JOBS = "/jobs/all"
PAGE_SIZE = 25
KINDS = ("parse", "vector", "fulltext", "collection.summary", "turn", "ingest", "webhook.deliver", "collection.purge")
STATES = ("running", "queued", "waiting", "blocked", "retrying", "worker_lost", "failed")
FILTERS = ("kind", "state", "collection_id", "code")
FOR_ADMINS = "owner"
DOINGS = ("retry", "cancel")


async def show(request: Request) -> Response:
    page = await open_page(request)
    asked = {name: page.query(name) for name in _filters(page)}
    found, collections = await asyncio.gather(
        page.api.get(*_path(page), page=page.number("page", 1), page_size=PAGE_SIZE, **asked), every(page.api)
    )
    return page.render(
        "jobs_all.html",
        found=found,
        asked=asked,
        kinds=KINDS,
        states=STATES,
        collections=collections,
        titles={it["id"]: it["title"] for it in collections},
    )


def _filters(page: Page) -> tuple[str, ...]:
    return (*FILTERS, FOR_ADMINS) if page.admin else FILTERS


def _path(page: Page) -> tuple[str, ...]:
    return ("admin", "jobs") if page.admin else ("jobs",)


async def change(request: Request) -> Response:
    """First only counted; what was counted is then named by the same filters."""
    page, form = await open_page(request), await form_of(request)
    doing, chosen = form.text("doing"), _chosen(page, form)
    if doing not in DOINGS:
        return page.go(JOBS)
    if form.ticked("sure"):
        jobs, tasks = await _change(page, doing, chosen)
        return page.go(JOBS, f"jobs.{doing}_done", jobs=page.formats.number(jobs), tasks=page.formats.number(tasks))
    counted = await page.api.post(*_path(page), doing, body={**chosen, "dry_run": True})
    return page.render("jobs_change.html", counted=counted, chosen=chosen, doing=doing)


async def _change(page: Page, doing: str, chosen: dict[str, Any]) -> tuple[int, int]:
    """All of them: one request of the gateway takes only so many."""
    jobs = tasks = 0
    after: str | None = None
    while True:
        done = await page.api.post(*_path(page), doing, body={**chosen, **({"after": after} if after else {})})
        jobs, tasks, after = jobs + done["jobs"], tasks + done["tasks"], done["next"]
        if not after:
            return jobs, tasks


def _chosen(page: Page, form: Form) -> dict[str, Any]:
    filters = {name: form.text(name) for name in _filters(page) if form.text(name)}
    return filters or {"all": True}


ROUTES = [Route(JOBS, show), Route(f"{JOBS}/change", change, methods=["POST"])]
