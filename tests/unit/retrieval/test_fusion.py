"""Two rankings become one, whatever scales their scores have."""

from __future__ import annotations

import pytest

from aperag_retrieval.fusion import fuse, names_exactly


def ids(dense: dict[str, float], lexical: dict[str, float], weight: float) -> list[str]:
    return [item.chunk_id for item in fuse(dense, lexical, weight)]


def test_scores_are_scaled_within_each_leg_before_they_are_weighed() -> None:
    fused = fuse({"a": 0.9, "b": 0.5, "c": 0.1}, {"a": 10.0, "b": 30.0, "c": 20.0}, 0.3)
    assert [item.chunk_id for item in fused] == ["b", "c", "a"]
    assert [item.score for item in fused] == pytest.approx([0.85, 0.35, 0.3])


def test_the_weight_decides_between_legs_that_disagree() -> None:
    dense, lexical = {"a": 0.9, "b": 0.1}, {"a": 1.0, "b": 9.0}
    assert ids(dense, lexical, 0.3) == ["b", "a"]
    assert ids(dense, lexical, 0.9) == ["a", "b"]


def test_a_chunk_unknown_to_a_leg_counts_as_its_worst() -> None:
    assert ids({"a": 0.9, "b": 0.8, "c": 0.1}, {"b": 5.0, "c": 1.0}, 0.3) == ["b", "a", "c"]


def test_equal_scores_are_ordered_by_id() -> None:
    assert ids({"b": 0.5, "a": 0.5}, {}, 0.9) == ["a", "b"]


def test_an_empty_leg_leaves_the_other_ones_order() -> None:
    assert ids({}, {"a": 1.0, "b": 2.0}, 0.3) == ["b", "a"]
    assert fuse({}, {}, 0.3) == []


def test_the_dense_share_is_the_dense_part_of_the_score() -> None:
    first, second = fuse({"a": 1.0, "b": 0.0}, {"a": 0.0, "b": 1.0}, 0.3)
    assert (first.chunk_id, first.dense_share) == ("b", 0.0)
    assert second.dense_share == second.score == pytest.approx(0.3)


def test_a_chunk_that_words_cannot_match_is_ranked_by_its_meaning() -> None:
    dense, lexical = {"foreign": 0.9, "own": 0.2, "off": 0.1}, {"own": 1.0, "off": 5.0}
    assert [item.chunk_id for item in fuse(dense, lexical, 0.3)] == ["off", "foreign", "own"]
    assert [item.chunk_id for item in fuse(dense, lexical, 0.3, {"foreign": 0.9})] == ["foreign", "off", "own"]


def test_a_foreign_chunk_that_words_did_match_keeps_its_words() -> None:
    dense, lexical = {"foreign": 0.5, "own": 0.9}, {"foreign": 9.0, "own": 1.0}
    assert ids(dense, lexical, 0.3) == [item.chunk_id for item in fuse(dense, lexical, 0.3, {"foreign": 0.9})]


@pytest.mark.parametrize(
    ("query", "exact"),
    [("20250017 주문", True), ("AB-1217 필터", True), ("오류 E117", True), ("7일 반품", False), ("주문", False)],
)
def test_numbers_are_the_same_in_every_script(query: str, *, exact: bool) -> None:
    assert names_exactly(query) is exact
