"""What a gateway is asked about jobs; ``everybody``: of all owners, for administrators."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.client.http import LONG

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_cli.client.http import Http

Json = dict[str, Any]
PAGE = 100


def _path(*, everybody: bool) -> str:
    return "/admin/jobs" if everybody else "/jobs"


async def find(http: Http, filters: Mapping[str, str], *, everybody: bool, limit: int) -> tuple[list[Json], int]:
    """The newest ``limit`` that fit, and how many fit in all."""
    found: dict[str, Json] = {}
    page = 1
    while True:
        query = {**filters, "page": page, "page_size": min(limit, PAGE)}
        answer = await http.json("GET", _path(everybody=everybody), params=query)
        found.update((it["id"], it) for it in answer["items"])
        if len(found) >= limit or not answer["has_next"]:
            return list(found.values())[:limit], int(answer["total"])
        page += 1


async def change(http: Http, doing: str, chosen: Mapping[str, object], *, everybody: bool, dry_run: bool) -> Json:
    """All that are meant, in as many requests as it takes. ``doing`` is retry or cancel; safe to repeat."""
    total: Json = {"dry_run": dry_run, "jobs": 0, "tasks": 0}
    after: str | None = None
    while True:
        body = {**chosen, "dry_run": dry_run, **({"after": after} if after else {})}
        done = await http.json("POST", f"{_path(everybody=everybody)}/{doing}", json=body, timeout=LONG)
        total |= {name: total[name] + done[name] for name in ("jobs", "tasks")}
        after = done["next"]
        if not after:
            return total
