"""Pages of traces."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from starlette.responses import RedirectResponse
from starlette.routing import Route

from aperag_console.traces.tree import rows_of
from aperag_console.web.page import open_page
from aperag_console.web.waterfall import FULL

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

TRACE_ID = re.compile(r"[0-9a-f]{32}")
NANO = 1e9


async def find(request: Request) -> Response:
    """By the trace's own id, or by that of the task or turn that it belongs to."""
    page = await open_page(request)
    wanted = page.query("id").lower()
    if not wanted:
        return page.render("traces.html")
    if not TRACE_ID.fullmatch(wanted):
        noun = "turns" if wanted.startswith("turn") else "tasks"
        wanted = (await page.api.get(noun, wanted))["trace_id"] or wanted
    return RedirectResponse(f"/traces/{wanted}", 303)


async def show(request: Request) -> Response:
    page, trace_id = await open_page(request), request.path_params["trace_id"]
    spans = (await page.api.get("traces", trace_id))["spans"]
    queries = page.query("queries") == "1"
    rows = rows_of(spans, queries=queries)
    total = (max(it["end"] for it in spans) - min(it["start"] for it in spans)) / NANO if spans else None
    services = sorted({it["service"] for it in spans})
    return page.render(
        "trace.html",
        trace_id=trace_id,
        rows=rows,
        spans=spans,
        queries=queries,
        total=total,
        services=services,
        full=FULL,
    )


ROUTES = [Route("/traces", find), Route("/traces/{trace_id}", show)]
