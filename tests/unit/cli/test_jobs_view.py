"""Jobs as the command line asks for them and changes them."""

from __future__ import annotations

import json
from typing import Any

import httpx

from aperag_cli.client import jobs
from aperag_cli.client.api import connect
from aperag_cli.client.http import Target


async def changed(answers: list[dict[str, Any]], **asked: Any) -> tuple[dict[str, Any], list[tuple[str, Any]]]:
    """What came of it, and what the gateway was asked."""
    seen: list[tuple[str, Any]] = []

    def answer(request: httpx.Request) -> httpx.Response:
        seen.append((request.url.path.removeprefix("/api/v1"), json.loads(request.content)))
        return httpx.Response(200, json=answers[len(seen) - 1])

    async with connect(Target("http://gateway", "sk-x"), transport=httpx.MockTransport(answer)) as api:
        return await jobs.change(api.http, **asked), seen


async def test_all_that_match_are_changed_in_as_many_requests_as_it_takes() -> None:
    answers = [
        {"dry_run": False, "jobs": 500, "tasks": 200, "next": "job5"},
        {"dry_run": False, "jobs": 7, "tasks": 3, "next": None},
    ]
    told, seen = await changed(answers, doing="retry", chosen={"code": "TIMEOUT"}, everybody=False, dry_run=False)
    assert told == {"dry_run": False, "jobs": 507, "tasks": 203}
    assert [path for path, _ in seen] == ["/jobs/retry"] * 2
    assert [body.get("after") for _, body in seen] == [None, "job5"]
    assert all(body["code"] == "TIMEOUT" for _, body in seen)


async def test_those_of_everybody_have_routes_of_their_own() -> None:
    answers = [{"dry_run": True, "jobs": 0, "tasks": 0, "next": None}]
    _, seen = await changed(answers, doing="cancel", chosen={"all": True}, everybody=True, dry_run=True)
    assert seen == [("/admin/jobs/cancel", {"all": True, "dry_run": True})]
