"""Dead letters as the command line reads and shows them."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import typer

from aperag_standalone.cli import dlq
from aperag_standalone.client import dead_letters
from aperag_standalone.client.api import connect
from aperag_standalone.client.http import Target

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
    with pytest.raises(typer.BadParameter, match="no age"):
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
