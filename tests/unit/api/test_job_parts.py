"""How the jobs of a batch are divided: those of one subject stay together."""

from __future__ import annotations

import pytest

from aperag_api.operations.jobs.decide import parts, whole

FOUND = [("doc1", "a"), ("doc1", "b"), ("doc2", "c"), ("doc2", "d"), ("doc3", "e")]


@pytest.mark.parametrize(
    ("size", "expected"),
    [(1, [["a", "b"], ["c", "d"], ["e"]]), (2, [["a", "b"], ["c", "d"], ["e"]]), (3, [["a", "b", "c", "d"], ["e"]])],
)
def test_a_part_ends_between_subjects(size: int, expected: list[list[str]]) -> None:
    assert parts(FOUND, size) == expected
    assert parts([], size) == []


def test_a_request_takes_whole_subjects_and_says_where_the_next_goes_on() -> None:
    assert whole(FOUND, 6) == (FOUND, None)
    assert whole(FOUND, 5) == (FOUND[:4], "doc2")
    assert whole(FOUND[:2], 2) == (FOUND[:2], "doc1"), "one that alone is too many is taken as it is"
