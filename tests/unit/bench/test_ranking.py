"""nDCG and recall, against values worked out by hand."""

from __future__ import annotations

from math import log2

import pytest
from bench.measure.ranking import ndcg, recall

GAINS = {"a": 1, "b": 1, "c": 0}


def test_the_best_order_has_an_ndcg_of_one() -> None:
    assert ndcg(["b", "a", "c"], GAINS) == pytest.approx(1.0)


def test_a_relevant_document_counts_less_the_later_it_comes() -> None:
    # Ranks 1 and 3: 1/log2(2) + 1/log2(4) = 1.5 of at best 1/log2(2) + 1/log2(3) = 1.63093.
    assert ndcg(["a", "c", "b"], GAINS) == pytest.approx(1.5 / 1.6309297535714575)


def test_gain_is_linear() -> None:
    # (1/1 + 3/log2(3)) of (3/1 + 1/log2(3)); an exponential gain would give 7 for 3.
    assert ndcg(["low", "high"], {"low": 1, "high": 3}) == pytest.approx((1 + 3 / log2(3)) / (3 + 1 / log2(3)))


def test_what_is_ranked_below_the_depth_counts_nothing() -> None:
    strangers = [f"x{n}" for n in range(10)]
    assert ndcg([*strangers, "a"], {"a": 1}) == 0
    assert ndcg([*strangers[:9], "a"], {"a": 1}) == pytest.approx(1 / log2(11))


def test_more_relevant_documents_than_the_depth_can_still_be_ranked_best() -> None:
    gains = {f"d{n}": 1 for n in range(20)}
    assert ndcg(list(gains), gains) == pytest.approx(1.0)


def test_recall_is_the_share_of_the_relevant_that_was_found() -> None:
    assert recall(["c", "x", "a"], GAINS) == 0.5
    assert recall(["a", "b"], GAINS) == 1.0
    assert recall(["x", "a"], GAINS, depth=1) == 0.0


def test_a_document_judged_irrelevant_is_not_to_be_recalled() -> None:
    assert recall(["a", "b"], {"a": 1, "b": 1, "c": 0, "d": 0}) == 1.0


@pytest.mark.parametrize("gains", [{}, {"a": 0}])
def test_a_query_without_relevant_documents_scores_zero(gains: dict[str, int]) -> None:
    assert ndcg(["a"], gains) == 0
    assert recall(["a"], gains) == 0
