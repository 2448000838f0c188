"""What an operator does about what was given up, from the command line."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from aperag_cli.exits import Exit
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.conftest import Aperag

pytestmark = pytest.mark.timeout(240)


def letters(aperag: Aperag, collection: str, *options: str) -> list[dict[str, Any]]:
    told = aperag.json("dlq", "list", "--collection", collection, *options)
    assert told["total"] == len(told["items"])
    return list(told["items"])


def given_up(aperag: Aperag, collection: str, *options: str) -> dict[str, Any]:
    async def found() -> list[dict[str, Any]]:
        return await asyncio.to_thread(letters, aperag, collection, *options)

    [letter] = asyncio.run(until(found))
    return letter


@pytest.fixture
def empty(aperag: Aperag, collection: str, tmp_path: Path) -> str:
    """A document that can never be read; its name."""
    (tmp_path / "empty.txt").write_text("", encoding="utf-8")
    assert aperag("documents", "upload", collection, str(tmp_path / "empty.txt")).exit_code == Exit.OK
    return "empty.txt"


def test_a_dead_letter_is_listed_shown_redriven_and_purged(aperag: Aperag, collection: str, empty: str) -> None:
    letter = given_up(aperag, collection)
    assert (letter["code"], letter["step"], letter["document_name"]) == ("EMPTY_DOCUMENT", "parse", empty)
    listed = aperag("dlq", "list", "--collection", collection).stdout
    assert all(word in listed for word in (letter["id"], "EMPTY_DOCUMENT", empty, "possible", "1 dead letter"))
    shown = aperag("dlq", "show", letter["id"]).stdout
    assert f"{empty} ({letter['document_id']}), now FAILED" in shown

    tried = aperag.json("dlq", "requeue", "--collection", collection, "--dry-run")
    assert (tried["outcomes"], tried["tasks"]) == ({"redriven": 1}, 0)
    told = aperag.json("dlq", "requeue", letter["id"])
    task = aperag.json("tasks", "show", told["task_ids"][0])
    assert (task["kind"], task["document_id"]) == ("redrive", letter["document_id"])

    again = given_up(aperag, collection, "--open")  # it is as empty as before
    assert again["id"] != letter["id"]
    assert [it["redriven_task_id"] for it in letters(aperag, collection, "--requeued")] == [task["id"]]
    overtaken = aperag("dlq", "requeue", letter["id"])
    assert overtaken.exit_code == Exit.FAILED
    assert "already requeued" in overtaken.stdout

    assert aperag("dlq", "purge", "--collection", collection).exit_code == Exit.USAGE  # nobody says yes
    assert aperag.json("dlq", "purge", "--collection", collection, "--older-than", "1d", "--yes") == {"purged": 0}
    assert aperag.json("dlq", "purge", letter["id"], "--yes") == {"purged": 1}
    purged = aperag("dlq", "purge", "--collection", collection, "--open", "--yes")
    assert purged.stdout.strip() == "1 dead letter deleted"
    assert letters(aperag, collection) == []


@pytest.mark.parametrize(
    "arguments",
    [(), ("--all", "--code", "BUSY"), ("some-id", "--all"), ("some-id", "--step", "parse")],
    ids=["nothing", "all and a filter", "ids and all", "ids and a filter"],
)
def test_which_letters_are_meant_must_be_said_in_one_way(aperag: Aperag, arguments: tuple[str, ...]) -> None:
    for command in ("requeue", "purge"):
        assert aperag("dlq", command, *arguments).exit_code == Exit.USAGE


@pytest.mark.parametrize("command", [("list",), ("requeue", "--dry-run"), ("purge", "--yes")], ids=lambda it: it[0])
def test_a_step_that_does_not_exist_is_refused_with_those_that_do(aperag: Aperag, command: tuple[str, ...]) -> None:
    refused = aperag("dlq", *command, "--step", "nonsense")
    assert refused.exit_code == Exit.FAILED
    assert "There is no step 'nonsense'" in refused.stderr
    assert all(name in refused.stderr for name in ("parse", "vector", "fulltext", "turn", "collection.purge"))


def test_an_unknown_letter_is_not_found(aperag: Aperag) -> None:
    assert aperag("dlq", "show", "00000000-0000-0000-0000-000000000000").exit_code == Exit.NOT_FOUND
    assert aperag("dlq", "requeue", "00000000-0000-0000-0000-000000000000").exit_code == Exit.FAILED
