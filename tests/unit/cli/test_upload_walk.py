"""What an upload takes from disk, and that a document is called the same in every run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from aperag_api.knowledge.uploads import names
from aperag_cli.commands.uploads import walk as walking
from aperag_cli.commands.uploads.plan import batches
from aperag_cli.commands.uploads.walk import Source, clean, walk

if TYPE_CHECKING:
    from collections.abc import Callable


@pytest.fixture
def write(tmp_path: Path) -> Callable[[str], Path]:
    def write(below: str) -> Path:
        path = tmp_path / below
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(below, encoding="utf-8")
        return path

    return write


def test_a_folder_gives_its_visible_documents_of_supported_kinds(tmp_path: Path, write: Callable[[str], Path]) -> None:
    for below in ("b.md", "a.PDF", "x/c.txt", ".git/d.md", "x/.e.md", "run.exe", "x/Makefile"):
        write(below)
    found = walk([tmp_path], recursive=True)
    assert [source.name for source in found.sources] == ["a.PDF", "b.md", "x__c.txt"]
    assert (found.hidden, found.unsupported, found.refused) == (2, 2, [])


def test_a_name_depends_on_nothing_but_the_path_below_the_folder(tmp_path: Path, write: Callable[[str], Path]) -> None:
    write("a/intro.md")
    alone = [source.name for source in walk([tmp_path], recursive=True).sources]
    write("b/intro.md")
    write("intro.md")
    names_ = [source.name for source in walk([tmp_path], recursive=True).sources]
    assert alone == ["a__intro.md"]
    assert names_ == ["intro.md", "a__intro.md", "b__intro.md"]


def test_two_documents_of_one_name_are_not_both_sent(write: Callable[[str], Path]) -> None:
    first, second = write("a/intro.md"), write("b/intro.md")
    found = walk([first, second], recursive=False)
    assert [source.path for source in found.sources] == [first]
    assert [refusal.path for refusal in found.refused] == [second]
    assert "same name" in found.refused[0].reason


def test_a_document_that_is_named_twice_is_taken_once(tmp_path: Path, write: Callable[[str], Path]) -> None:
    path = write("a.md")
    found = walk([path, tmp_path, path], recursive=True)
    assert (len(found.sources), found.refused) == (1, [])


def test_a_named_document_is_taken_whatever_it_is(write: Callable[[str], Path]) -> None:
    found = walk([write(".hidden.md"), write("run.exe")], recursive=False)
    assert [source.name for source in found.sources] == [".hidden.md", "run.exe"]


def test_a_folder_is_entered_only_when_asked(tmp_path: Path, write: Callable[[str], Path]) -> None:
    write("a.md")
    found = walk([tmp_path], recursive=False)
    assert (found.sources, found.folders) == ([], [tmp_path])


def test_a_link_to_a_folder_above_is_not_followed(tmp_path: Path, write: Callable[[str], Path]) -> None:
    write("x/a.md")
    (tmp_path / "x" / "up").symlink_to(tmp_path)
    assert [source.name for source in walk([tmp_path], recursive=True).sources] == ["x__a.md"]


def test_what_is_neither_document_nor_folder_is_passed_over(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    assert walk([tmp_path], recursive=True).sources == []


def test_a_named_pipe_is_refused_and_never_opened(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.md")
    found = walk([tmp_path / "pipe.md"], recursive=False)
    assert [it.reason for it in found.refused] == ["it is no regular file"]


def test_a_folder_that_cannot_be_listed_is_refused_and_the_others_are_walked(
    tmp_path: Path, write: Callable[[str], Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    for below in ("a.md", "closed/b.md", "open/c.md"):
        write(below)
    scandir = os.scandir

    def guarded(path: str) -> Any:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied", path)
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    found = walk([tmp_path], recursive=True)
    assert [source.name for source in found.sources] == ["a.md", "open__c.md"]
    assert [(it.path.name, it.reason) for it in found.refused] == [("closed", "Permission denied")]


def test_a_link_to_nothing_is_refused_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "gone.md").symlink_to(tmp_path / "nowhere.md")
    found = walk([tmp_path / "gone.md"], recursive=False)
    assert "No such file" in found.refused[0].reason


@pytest.mark.parametrize("raw", ["e\u0301.md", 'a"b.md', "a\\b.md", " a.md ", "a\nb.md", "a\udcff.md"])
def test_a_name_is_what_the_gateway_makes_of_it(raw: str) -> None:
    cleaned = clean(raw)
    assert names.clean_name(cleaned) == cleaned
    assert '"' not in cleaned
    cleaned.encode()


def test_every_kind_that_the_gateway_accepts_is_taken_out_of_folders() -> None:
    last = {f".{suffix.rpartition('.')[2]}" for suffix in names.SUFFIXES}
    assert last == walking.SUFFIXES


def sources(*sizes: int) -> list[Source]:
    return [Source(Path(f"{n}.md"), f"{n}.md", size) for n, size in enumerate(sizes)]


@pytest.mark.parametrize(
    ("sizes", "planned"),
    [
        ((), []),
        ((1, 1, 1), [[1, 1], [1]]),
        ((6, 5), [[6], [5]]),
        ((5, 5), [[5, 5]]),
        ((1, 99, 1), [[1], [99], [1]]),
        ((0, 0, 0), [[0, 0], [0]]),
    ],
)
def test_a_batch_is_bounded_by_count_and_by_bytes(sizes: tuple[int, ...], planned: list[list[int]]) -> None:
    assert [[source.size for source in batch] for batch in batches(sources(*sizes), count=2, size=10)] == planned
