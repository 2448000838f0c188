"""Every command answers in both forms, and wrong input ends it with a sentence and the exit code of its kind."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aperag_cli.exits import Exit

if TYPE_CHECKING:
    from tests.integration.cli.conftest import Aperag

pytestmark = pytest.mark.timeout(240)


@pytest.fixture
def filled(aperag: Aperag, collection: str, folder: Path) -> dict[str, Any]:
    """What the upload of the folder told."""
    return dict(aperag.json("documents", "upload", collection, str(folder), "-r", "--wait"))


def test_an_upload_that_waits_ends_with_searchable_documents(filled: dict[str, Any]) -> None:
    assert sorted(it["name"] for it in filled["accepted"]) == ["guides__whales.md", "tea.md"]
    assert filled["skipped"] == {"hidden": 1, "unsupported": 1}
    assert (filled["searchable"], filled["failed"], filled["refused"]) == (2, [], [])


def test_a_second_upload_sends_nothing(aperag: Aperag, collection: str, filled: dict[str, Any], folder: Path) -> None:
    again = aperag.json("documents", "upload", collection, str(folder), "-r", "--wait")
    assert {it["id"] for it in again["known"]} == {it["id"] for it in filled["accepted"]}
    assert (again["accepted"], again["searchable"]) == ([], 2)


def test_a_search_finds_by_meaning_by_words_and_by_both(
    aperag: Aperag, collection: str, filled: dict[str, Any]
) -> None:
    task = filled["accepted"][0]["task_id"]
    both = aperag.json("search", collection, "whale", "--wait-for", task)
    assert both["items"][0]["source"] == "guides__whales.md"
    words = aperag.json("search", collection, "whale", "--fulltext", "--topk", "1")
    assert [it["recall_type"] for it in words["items"]] == ["fulltext_search"]
    meaning = aperag.json("search", collection, "whale", "--vector", "--topk", "1")
    assert [it["recall_type"] for it in meaning["items"]] == ["vector_search"]
    shown = aperag("search", collection, "whale")
    assert shown.exit_code == Exit.OK
    assert "A whale breathes air." in shown.stdout


@pytest.mark.usefixtures("filled")
def test_reading_commands_print_a_table_or_one_json_document(aperag: Aperag, collection: str) -> None:
    for arguments, shown in {
        ("collections", "list"): collection,
        ("collections", "show", collection): "en-US",
        ("documents", "list", collection): "guides__whales.md",
        ("documents", "list", collection, "--search", "tea"): "tea.md",
        ("documents", "show", collection, "tea.md"): "ACTIVE",
        ("documents", "status", collection): "2 COMPLETE",
        ("documents", "status", collection, "tea.md"): "1 COMPLETE",
        ("documents", "status", collection, "--follow"): "searchable",
        ("keys", "list"): "sk-",
    }.items():
        ended = aperag(*arguments)
        assert ended.exit_code == Exit.OK, ended.output
        assert shown in ended.stdout
        told = aperag(*arguments, "-o", "json")
        assert told.exit_code == Exit.OK, told.output
        lines = told.stdout.splitlines() if "--follow" in arguments else [told.stdout]
        assert all(json.loads(line) for line in lines)


def test_a_rebuild_is_a_task_that_can_be_looked_at(aperag: Aperag, collection: str, filled: dict[str, Any]) -> None:
    rebuilt = aperag.json("documents", "rebuild", collection, "tea.md", "--index", "vector")
    task = rebuilt[0]["task_id"]
    assert aperag.json("tasks", "show", task)["id"] == task
    assert task in aperag("tasks", "show", task).stdout
    assert "0 documents" in aperag("documents", "rebuild", collection, "--failed").stdout
    ended = aperag("tasks", "cancel", filled["accepted"][0]["task_id"])
    assert ended.exit_code == Exit.FAILED
    assert "already ended" in ended.stderr


def test_a_task_that_has_not_ended_is_cancelled(aperag: Aperag, collection: str, tmp_path: Path) -> None:
    (tmp_path / "long.md").write_text("word " * 400_000, encoding="utf-8")
    accepted = aperag.json("documents", "upload", collection, str(tmp_path / "long.md"))["accepted"][0]
    assert aperag.json("tasks", "cancel", accepted["task_id"])["status"] != "RUNNING"
    followed = aperag("documents", "status", collection, "--follow")
    assert followed.exit_code == Exit.FAILED
    assert "long.md" in followed.stdout


def test_a_download_is_what_was_uploaded(
    aperag: Aperag, collection: str, filled: dict[str, Any], folder: Path, tmp_path: Path
) -> None:
    target = tmp_path / "copy.md"
    told = aperag.json("documents", "download", collection, "tea.md", "--to", str(target))
    assert (told["path"], told["id"] in {it["id"] for it in filled["accepted"]}) == (str(target), True)
    assert target.read_bytes() == (folder / "tea.md").read_bytes()
    again = aperag("documents", "download", collection, "tea.md", "--to", str(target))
    assert (again.exit_code, "--force" in again.stderr) == (Exit.FAILED, True)
    assert aperag("documents", "download", collection, "tea.md", "--to", str(target), "--force").exit_code == Exit.OK
    piped = aperag("documents", "download", collection, "tea.md", "--to", "-")
    assert piped.stdout_bytes == target.read_bytes()
    assert sorted(it.name for it in tmp_path.iterdir()) == ["copy.md", "documents"]


def test_what_is_deleted_is_gone(aperag: Aperag, collection: str, filled: dict[str, Any]) -> None:
    deleted = aperag.json("documents", "delete", collection, "tea.md", filled["accepted"][1]["id"], "--yes")
    assert {it["status"] for it in deleted} == {"DELETED"}
    assert aperag.json("documents", "list", collection) == []
    assert aperag.json("collections", "delete", collection, "--yes")["status"] == "DELETED"
    assert aperag("collections", "show", collection).exit_code == Exit.NOT_FOUND


def test_a_key_works_until_it_is_revoked(aperag: Aperag) -> None:
    made = aperag.json("keys", "create", "--description", "for a test")
    assert aperag("collections", "list", APERAG_API_KEY=made["key"]).exit_code == Exit.OK
    listed = next(it for it in aperag.json("keys", "list") if it["id"] == made["id"])
    assert (listed["description"], made["key"] in listed["key"]) == ("for a test", False)
    assert aperag("keys", "revoke", made["id"]).exit_code == Exit.OK
    refused = aperag("collections", "list", "--api-key", made["key"])
    assert refused.exit_code == Exit.NOT_AUTHORISED
    assert "revoked" in refused.stderr
    assert aperag("keys", "revoke", made["id"]).exit_code == Exit.NOT_FOUND


def test_another_machine_needs_nothing_but_address_and_key(aperag: Aperag, collection: str, tmp_path: Path) -> None:
    elsewhere = {"APERAG_HOME": str(tmp_path / "none"), "APERAG_API_URL": aperag.stack.url}
    listed = aperag.json("collections", "list", **elsewhere, APERAG_API_KEY=aperag.stack.api_key)
    assert collection in {it["title"] for it in listed}
    assert aperag("collections", "list", **elsewhere).exit_code == Exit.NOT_AUTHORISED


def test_doctor_asks_the_api_with_the_key_that_is_configured(aperag: Aperag) -> None:
    told = {it["subject"]: it for it in aperag.json("doctor")["findings"]}
    assert aperag.stack.url in told["API key"]["seen"]
    wrong = aperag.json("doctor", code=Exit.FAILED, APERAG_API_KEY="sk-" + "0" * 32)
    assert wrong["fit"] is False
    assert next(it for it in wrong["findings"] if it["subject"] == "API key")["remedy"]


def test_one_bad_document_is_refused_and_the_others_are_accepted(aperag: Aperag, collection: str, folder: Path) -> None:
    paths = [str(folder / "run.exe"), str(folder / "tea.md")]
    told = aperag.json("documents", "upload", collection, *paths, code=Exit.FAILED)
    assert [it["name"] for it in told["accepted"]] == ["tea.md"]
    assert [it["path"] for it in told["refused"]] == [paths[0]]
    assert "not supported" in told["refused"][0]["reason"]


@pytest.mark.usefixtures("filled")
def test_a_document_that_changed_is_refused_by_name(aperag: Aperag, collection: str, folder: Path) -> None:
    (folder / "tea.md").write_text("other content", encoding="utf-8")
    ended = aperag("documents", "upload", collection, str(folder), "-r")
    assert ended.exit_code == Exit.FAILED
    assert "other content" in ended.stdout
    assert "1 there already; 1 refused" in ended.stdout


def test_a_document_that_cannot_be_read_fails_the_waiting_with_its_reason(
    aperag: Aperag, collection: str, tmp_path: Path
) -> None:
    (tmp_path / "blank.md").write_text("   \n", encoding="utf-8")
    told = aperag.json("documents", "upload", collection, str(tmp_path / "blank.md"), "--wait", code=Exit.FAILED)
    assert told["searchable"] == 0
    assert "EMPTY_DOCUMENT" in told["failed"][0]["reason"]
    again = aperag("documents", "upload", collection, str(tmp_path / "blank.md"), "--wait")
    assert again.exit_code == Exit.FAILED
    assert "rebuild COLLECTION --failed" in again.stdout


NOWHERE = "no such collection"
HERE = str(Path(__file__))
WRONG = {
    ("collections", "create", ""): Exit.FAILED,
    ("collections", "create", "x", "--language", "fr-FR"): Exit.USAGE,
    ("collections", "show", NOWHERE): Exit.NOT_FOUND,
    ("collections", "show", "col0000000000000000"): Exit.NOT_FOUND,
    ("collections", "delete", NOWHERE, "--yes"): Exit.NOT_FOUND,
    ("documents", "upload", NOWHERE, HERE): Exit.NOT_FOUND,
    ("documents", "upload", NOWHERE, "/no/such/document.md"): Exit.USAGE,
    ("documents", "upload", NOWHERE, str(Path(HERE).parent)): Exit.USAGE,
    ("documents", "upload", NOWHERE): Exit.USAGE,
    ("documents", "list", NOWHERE): Exit.NOT_FOUND,
    ("documents", "show", NOWHERE, "tea.md"): Exit.NOT_FOUND,
    ("documents", "status", NOWHERE): Exit.NOT_FOUND,
    ("documents", "status", NOWHERE, "--follow"): Exit.NOT_FOUND,
    ("documents", "rebuild", NOWHERE): Exit.USAGE,
    ("documents", "rebuild", NOWHERE, "tea.md", "--failed"): Exit.USAGE,
    ("documents", "rebuild", NOWHERE, "tea.md", "--index", "colour"): Exit.USAGE,
    ("documents", "rebuild", NOWHERE, "--failed"): Exit.NOT_FOUND,
    ("documents", "delete", NOWHERE, "tea.md", "--yes"): Exit.NOT_FOUND,
    ("documents", "download", NOWHERE, "tea.md"): Exit.NOT_FOUND,
    ("search", NOWHERE, "tea"): Exit.NOT_FOUND,
    ("search", NOWHERE, "tea", "--topk", "0"): Exit.USAGE,
    ("tasks", "show", "wf0000000000000000"): Exit.NOT_FOUND,
    ("tasks", "cancel", "../apikeys"): Exit.NOT_FOUND,
    ("events", "tail", "--since", "yesterday"): Exit.USAGE,
    ("keys", "revoke", "key0000000000000000"): Exit.NOT_FOUND,
    ("keys", "list", "--url", "nonsense"): Exit.USAGE,
    ("keys", "list", "--url", "http://127.0.0.1:1", "--api-key", "sk-1"): Exit.FAILED,
    ("keys", "list", "--api-key", "sk-1"): Exit.NOT_AUTHORISED,
}


@pytest.mark.parametrize("arguments", WRONG, ids=" ".join)
def test_wrong_input_is_a_sentence_and_an_exit_code(aperag: Aperag, arguments: tuple[str, ...]) -> None:
    ended = aperag(*arguments)
    assert ended.exit_code == WRONG[arguments], ended.output
    assert ended.stdout == ""
    assert len(ended.stderr.split()) > 3
    assert "Traceback" not in ended.stderr


def test_wrong_input_about_one_collection(aperag: Aperag, collection: str) -> None:
    for arguments, code in {
        ("documents", "show", collection, "nothing.md"): Exit.NOT_FOUND,
        ("documents", "show", collection, "doc0000000000000000"): Exit.NOT_FOUND,
        ("documents", "delete", collection, "nothing.md", "--yes"): Exit.NOT_FOUND,
        ("documents", "download", collection, "nothing.md"): Exit.NOT_FOUND,
        ("documents", "rebuild", collection, "nothing.md"): Exit.NOT_FOUND,
        ("documents", "status", collection, "nothing.md"): Exit.NOT_FOUND,
        ("search", collection, "  "): Exit.FAILED,
        ("search", collection, "tea", "--wait-for", "wf0000000000000000"): Exit.FAILED,
        ("collections", "delete", collection): Exit.USAGE,
    }.items():
        ended = aperag(*arguments)
        assert ended.exit_code == code, (arguments, ended.output)
    assert aperag("collections", "show", collection).exit_code == Exit.OK
    aperag.json("collections", "create", collection)
    ambiguous = aperag("collections", "show", collection)
    assert ambiguous.exit_code == Exit.USAGE
    assert "name one by its id" in ambiguous.stderr
