"""Which received documents are new."""

from __future__ import annotations

import pytest

from aperag_api.knowledge.uploads.decide import sort_received
from aperag_api.knowledge.uploads.repository import NamedDocument
from aperag_common import errors
from aperag_work.accepting import NewDocument


def received(id_: str, name: str, sha256: str) -> NewDocument:
    return NewDocument(id_, "col1", "user1", name, 1, sha256, f"user-user1/col1/{id_}/original.txt")


TAKEN = {"old.txt": NamedDocument("doc0", "old.txt", 1, "aa", "COMPLETE")}


def test_new_names_are_new_and_answered_in_order() -> None:
    one, two = received("doc1", "b.txt", "11"), received("doc2", "a.txt", "22")
    result = sort_received([one, two], {})
    assert (result.new, result.ids) == ([one, two], ["doc1", "doc2"])


def test_the_same_bytes_under_the_same_name_are_the_document_that_is_there() -> None:
    result = sort_received([received("doc1", "old.txt", "aa"), received("doc2", "old.txt", "aa")], TAKEN)
    assert (result.new, result.ids) == ([], ["doc0", "doc0"])


def test_a_document_posted_twice_in_one_request_is_accepted_once() -> None:
    first = received("doc1", "a.txt", "11")
    result = sort_received([first, received("doc2", "a.txt", "11")], {})
    assert (result.new, result.ids) == ([first], ["doc1", "doc1"])


@pytest.mark.parametrize("documents", [["old.txt"], ["new.txt", "new.txt"]])
def test_other_bytes_under_a_taken_name_are_a_conflict(documents: list[str]) -> None:
    with pytest.raises(errors.DocumentNameConflict):
        sort_received([received(f"doc{at}", name, f"b{at}") for at, name in enumerate(documents)], TAKEN)
