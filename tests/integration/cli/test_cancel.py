"""Stopping the work on documents and collections from the command line."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from pathlib import Path

    from tests.integration.cli.conftest import Aperag

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def long(tmp_path: Path) -> Path:
    """Documents that are not searchable by the time they are cancelled."""
    for name in ("first.md", "second.md", "third.md"):
        (tmp_path / name).write_text(f"{name} word " * 200_000, encoding="utf-8")
    return tmp_path


def test_documents_are_cancelled_by_name_and_then_have_nothing_to_cancel(
    aperag: Aperag, collection: str, long: Path
) -> None:
    aperag.json("documents", "upload", collection, str(long), "-r")
    answers = aperag.json("documents", "cancel", collection, "first.md", "second.md")
    assert [it["document"]["name"] for it in answers] == ["first.md", "second.md"]
    assert {it["document"]["error_code"] for it in answers} == {"CANCELLED"}
    assert {aperag.json("tasks", "show", it["task_ids"][0])["status"] for it in answers} == {"CANCELLED"}
    again = aperag("documents", "cancel", collection, "first.md")
    assert again.exit_code == Exit.FAILED
    assert "No task" in again.stderr


def test_a_collection_is_cancelled_after_a_question(aperag: Aperag, collection: str, long: Path) -> None:
    aperag.json("documents", "upload", collection, str(long), "-r")
    assert aperag("collections", "cancel", collection).exit_code != Exit.OK  # nobody says yes
    told = aperag.json("collections", "cancel", collection, "--yes")
    assert told["cancelled_tasks"] == told["affected_documents"] > 0
    shown = aperag("collections", "cancel", collection, "--yes")
    assert shown.stdout.strip() == "0 tasks of 0 documents cancelled"
    counts = aperag.json("documents", "status", collection)["counts"]
    assert counts["FAILED"] == told["cancelled_tasks"]
