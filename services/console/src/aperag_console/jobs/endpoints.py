"""Pages of queues, dead letters and timers: for administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from starlette.routing import Route

from aperag_console.web.forms import Form, form_of
from aperag_console.web.page import open_page

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from aperag_console.web.page import Page

FILTERS = ("code", "step", "owner", "collection_id", "document_id")
PAGE_SIZE = 25
LETTERS = "/jobs/dead-letters"


async def show(request: Request) -> Response:
    page = await open_page(request, admin=True)
    queues = await page.api.get("admin", "queues")
    return page.render("jobs.html", queues=queues, running=_matching(page, queues["running"]))


def _matching(page: Page, running: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those to which every filter of the address applies."""
    wanted = {name: page.query(name) for name in ("consumer", "owner", "collection_id") if page.query(name)}
    return [it for it in running if all(it[name] == value for name, value in wanted.items())]


async def show_letters(request: Request) -> Response:
    page = await open_page(request, admin=True)
    asked = {name: page.query(name) for name in FILTERS}
    redriven = page.query("redriven")
    if redriven != "all":
        asked["redriven"] = redriven or "false"
    found = await page.api.get("admin", "dead-letters", page=page.number("page", 1), page_size=PAGE_SIZE, **asked)
    return page.render("dead_letters.html", found=found, filters=FILTERS, asked=asked, redriven=redriven)


async def show_letter(request: Request) -> Response:
    page = await open_page(request, admin=True)
    letter = await page.api.get("admin", "dead-letters", request.path_params["letter_id"])
    return page.render("dead_letter.html", letter=letter)


async def requeue(request: Request) -> Response:
    """First only counted; what was counted is then named by the same filters."""
    page, form = await open_page(request, admin=True), await form_of(request)
    chosen = _chosen(form)
    if form.ticked("sure"):
        done = await _requeue(page, chosen)
        return page.go(LETTERS, "letters.requeued", letters=done["letters"], tasks=done["tasks"])
    counted = await page.api.post("admin", "dead-letters", "redrive", body={**chosen, "dry_run": True})
    return page.render("requeue.html", counted=counted, chosen=chosen)


async def _requeue(page: Page, chosen: dict[str, Any]) -> dict[str, int]:
    """All of them: one request of the gateway takes only so many."""
    total = {"letters": 0, "tasks": 0}
    after: str | None = None
    while True:
        body = {**chosen, **({"after": after} if after else {})}
        done = await page.api.post("admin", "dead-letters", "redrive", body=body)
        for name in total:
            total[name] += done[name]
        after = done["next"]
        if not after:
            return total


def _chosen(form: Form) -> dict[str, Any]:
    if ids := form.texts("id"):
        return {"ids": ids}
    filters = {name: form.text(name) for name in FILTERS if form.text(name)}
    return filters or {"all": True}


async def purge(request: Request) -> Response:
    page = await open_page(request, admin=True)
    await page.api.delete("admin", "dead-letters", request.path_params["letter_id"])
    return page.go(LETTERS, "letters.purged")


async def show_timers(request: Request) -> Response:
    page = await open_page(request, admin=True)
    return page.render("timers.html", timers=(await page.api.get("admin", "timers"))["items"])


async def run_timer(request: Request) -> Response:
    page, name = await open_page(request, admin=True), request.path_params["name"]
    asked = await page.api.post("admin", "timers", name, "run")
    return page.go("/jobs/timers", "timers.asked" if asked["published"] else "timers.already", name=name)


ROUTES = [
    Route("/jobs", show),
    Route(LETTERS, show_letters),
    Route(f"{LETTERS}/requeue", requeue, methods=["POST"]),
    Route(f"{LETTERS}/{{letter_id}}", show_letter),
    Route(f"{LETTERS}/{{letter_id}}/purge", purge, methods=["POST"]),
    Route("/jobs/timers", show_timers),
    Route("/jobs/timers/{name}/run", run_timer, methods=["POST"]),
]
