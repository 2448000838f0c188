"""What operators ask a gateway about dead letters."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from aperag_cli.client.http import LONG, segment

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aperag_cli.client.http import Http

Json = dict[str, Any]

PATH = "/admin/dead-letters"
PAGE = 100
MOST_IDS = 500


async def find(http: Http, filters: Mapping[str, str | bool], *, limit: int) -> tuple[list[Json], int]:
    """The newest ``limit`` that fit, and how many fit in all."""
    found: dict[str, Json] = {}
    page = 1
    while True:
        query = {**filters, "page": page, "page_size": min(limit, PAGE)}
        answer = await http.json("GET", PATH, params=query)
        found.update((it["id"], it) for it in answer["items"])
        if len(found) >= limit or not answer["has_next"]:
            return list(found.values())[:limit], int(answer["total"])
        page += 1


async def get(http: Http, letter_id: str) -> Json:
    return dict(await http.json("GET", f"{PATH}/{segment(letter_id)}"))


async def redrive(http: Http, chosen: Mapping[str, object], *, dry_run: bool) -> Json:
    """All that are meant, in as many requests as it takes; the answer of one that took them all.

    Safe to repeat: what has been redriven is not redriven again.
    """
    parts = [await _part(http, {**it, "dry_run": dry_run}) for it in _requests(chosen)]
    while parts[-1]["next"]:
        parts.append(await _part(http, {**chosen, "dry_run": dry_run, "after": parts[-1]["next"]}))
    return merged(parts)


async def purge(http: Http, chosen: Mapping[str, object]) -> int:
    answers = [await http.json("POST", f"{PATH}/purge", json=it, timeout=LONG) for it in _requests(chosen)]
    return sum(int(answer["purged"]) for answer in answers)


async def _part(http: Http, body: Mapping[str, object]) -> Json:
    return dict(await http.json("POST", f"{PATH}/redrive", json=body, timeout=LONG))


def _requests(chosen: Mapping[str, object]) -> list[Mapping[str, object]]:
    """A gateway takes only so many ids at a time."""
    ids = chosen.get("ids")
    if not isinstance(ids, list):
        return [chosen]
    return [{"ids": ids[at : at + MOST_IDS]} for at in range(0, len(ids), MOST_IDS)]


def merged(parts: Sequence[Json]) -> Json:
    """Counts are summed; of tasks and results those stand that the gateway names."""
    outcomes: dict[str, int] = {}
    for part in parts:
        for outcome, letters in part["outcomes"].items():
            outcomes[outcome] = outcomes.get(outcome, 0) + letters
    return {
        "dry_run": parts[0]["dry_run"],
        "letters": sum(part["letters"] for part in parts),
        "outcomes": outcomes,
        "tasks": sum(part["tasks"] for part in parts),
        "task_ids": [id_ for part in parts for id_ in part["task_ids"]],
        "results": [it for part in parts for it in part["results"]],
    }
