"""Dead letters as the command line reads and shows them."""

from __future__ import annotations

import io
import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import typer
from rich.console import Console

from aperag_cli.client import dead_letters
from aperag_cli.client.api import connect
from aperag_cli.client.http import Target
from aperag_cli.commands import dlq

NOW = datetime(2026, 11, 2, 12, 0, 0, tzinfo=UTC)


@pytest.mark.parametrize(
    ("created", "shown"),
    [
        ("2026-11-02T12:00:00+00:00", "0 s"),
        ("2026-11-02T11:59:01.5Z", "58 s"),
        ("2026-11-02T11:59:00Z", "1 min"),
        ("2026-11-02T10:01:00Z", "1 h"),
        ("2026-11-01T11:59:00Z", "1 d"),
        ("2026-11-02T13:00:00Z", "0 s"),
        ("2026-11-02T21:00:00+09:00", "0 s"),
    ],
)
def test_an_age_is_told_in_its_largest_whole_unit(created: str, shown: str) -> None:
    assert dlq.age(created, NOW) == shown


@pytest.mark.parametrize(("given", "seconds"), [("30s", 30), ("30m", 1800), ("12h", 43_200), ("90d", 7_776_000)])
def test_an_age_is_understood(given: str, seconds: int) -> None:
    assert dlq._seconds(given) == seconds


@pytest.mark.parametrize("given", ["", "90", "d", "-1d", "1.5h", "90 d", "9999999d", "1w"])
def test_what_is_no_age_is_refused(given: str) -> None:
    with pytest.raises(typer.BadParameter, match="not an age"):
        dlq._seconds(given)


def part(outcome: str, *tasks: str, next_: str | None = None) -> dict[str, Any]:
    results = [{"id": f"l{task}", "outcome": outcome, "task_id": task, "reason": ""} for task in tasks]
    return {"dry_run": False, "letters": len(tasks), "outcomes": {outcome: len(tasks)}, "tasks": len(tasks),
            "task_ids": list(tasks), "results": results, "next": next_}  # fmt: skip


async def asked(
    answers: list[dict[str, Any]], chosen: dict[str, object]
) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The answer of a redrive to which the gateway says ``answers``, and what it was asked."""
    bodies: list[dict[str, Any]] = []

    def gateway(request: httpx.Request) -> httpx.Response:
        bodies.append(json.loads(request.content))
        return httpx.Response(200, json=answers[len(bodies) - 1])

    async with connect(Target("http://gateway", "sk-x"), transport=httpx.MockTransport(gateway)) as api:
        return await dead_letters.redrive(api.http, chosen, dry_run=False), bodies


async def test_a_redrive_of_very_many_asks_until_all_are_done() -> None:
    answers = [part("redriven", "a", "b", next_="here"), part("superseded", "c", next_="there"), part("redriven", "d")]
    told, bodies = await asked(answers, {"code": "BUSY"})
    assert [body.get("after") for body in bodies] == [None, "here", "there"]
    assert {body["code"] for body in bodies} == {"BUSY"}
    assert (told["letters"], told["outcomes"], told["tasks"]) == (4, {"redriven": 3, "superseded": 1}, 4)
    assert told["task_ids"] == ["a", "b", "c", "d"]


async def test_more_ids_than_a_gateway_takes_at_once_are_asked_for_in_parts() -> None:
    ids = [str(n) for n in range(dead_letters.MOST_IDS + 1)]
    told, bodies = await asked([part("redriven", "a"), part("redriven", "b")], {"ids": ids})
    assert [len(body["ids"]) for body in bodies] == [dead_letters.MOST_IDS, 1]
    assert told["letters"] == 2


async def test_what_changes_very_many_rows_is_waited_for_longer_than_what_is_only_read() -> None:
    waited: dict[str, float] = {}

    def gateway(request: httpx.Request) -> httpx.Response:
        waited[request.url.path.rpartition("/")[2]] = request.extensions["timeout"]["read"]
        return httpx.Response(200, json={**part("redriven"), "purged": 1, "items": [], "total": 0, "has_next": False})

    async with connect(Target("http://gateway", "sk-x"), transport=httpx.MockTransport(gateway)) as api:
        await dead_letters.find(api.http, {}, limit=1)
        await dead_letters.redrive(api.http, {"all": True}, dry_run=False)
        await dead_letters.purge(api.http, {"all": True})
        await api.cancel_collection("col1")
        await api.rebuild_failed("col1")
    read = waited.pop("dead-letters")
    assert set(waited) == {"redrive", "purge", "cancel", "rebuild_failed_indexes"}
    assert min(waited.values()) >= 10 * read


@pytest.mark.parametrize(
    ("dry_run", "said"),
    [
        (True, "3 dead letters checked, nothing was changed: 1 already requeued, 2 would be requeued"),
        (False, "3 dead letters checked, 2 tasks started: 1 already requeued, 2 requeued"),
    ],
)
def test_a_dry_run_says_what_would_be_done_and_not_that_it_was(*, dry_run: bool, said: str) -> None:
    told = {**part("redriven", "a", "b"), "dry_run": dry_run, "letters": 3}
    told["outcomes"] = {"redriven": 2, "already_redriven": 1}
    console = Console(width=200, file=io.StringIO(), color_system=None)
    console.print(dlq._requeued(told))
    assert isinstance(console.file, io.StringIO)
    shown = console.file.getvalue()
    assert said in shown
    assert ("would be requeued" in shown.partition(said)[0]) is dry_run
