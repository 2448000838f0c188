"""BM25, split between what is stored of a chunk and what is asked of it."""

from __future__ import annotations

from math import log

import pytest

from aperag_common.db.models.chunk_term import TERM_SPACE
from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for, term_id
from aperag_retrieval.lexical import inverse_frequency, query_terms, rare_terms, sparse_text, weigh

ANALYZER = analyzer_for(DEFAULT_ANALYZER)


def test_a_weight_is_the_saturated_and_length_normalised_count() -> None:
    (weighed,) = weigh(ANALYZER, ["tide tide moon"], average_length=6.0)
    damping = 1.2 * (1 - 0.75 + 0.75 * 3 / 6)
    assert weighed.length == 3
    assert weighed.weights == {
        term_id("tide"): pytest.approx(2 * 2.2 / (2 + damping)),
        term_id("moon"): pytest.approx(1 * 2.2 / (1 + damping)),
    }


def test_text_without_terms_has_no_weights() -> None:
    (weighed,) = weigh(ANALYZER, ["the ..."], average_length=6.0)
    assert (weighed.length, weighed.weights) == (0, {})


@pytest.mark.parametrize(("chunks", "frequency"), [(10, 0), (10, 1), (10, 9), (10, 10), (0, 0), (3, 7)])
def test_rarity_is_positive_even_where_statistics_lag(chunks: int, frequency: int) -> None:
    assert inverse_frequency(chunks, frequency) > 0


def test_rarity_is_lucenes() -> None:
    assert inverse_frequency(100, 4) == pytest.approx(log(1 + 96.5 / 4.5))


def test_a_query_counts_its_terms_and_keeps_the_most_frequent_of_too_many() -> None:
    assert query_terms(ANALYZER, "tides and tides of the moon") == {term_id("tide"): 2, term_id("moon"): 1}
    endless = query_terms(ANALYZER, "tide tide " + " ".join(f"word{number}" for number in range(1000)))
    assert len(endless) == 256
    assert endless[term_id("tide")] == 2


def test_sparse_text_counts_from_one() -> None:
    assert sparse_text({0: 1.5, TERM_SPACE - 1: 2.0}) == f"{{1:1.5,{TERM_SPACE}:2}}/{TERM_SPACE}"


@pytest.mark.parametrize(
    ("frequencies", "chosen"),
    [
        pytest.param({1: 10, 2: 150, 3: 5000}, [1, 2], id="those of at most two in a hundred"),
        pytest.param({1: 3000, 2: 4000, 3: 5000}, [1, 2], id="two in any case"),
        pytest.param({1: 2, 2: 3, 3: 5000}, [1, 2, 3], id="more while too few chunks could be found"),
        pytest.param({1: 5000}, [1], id="all there are"),
    ],
)
def test_rarer_terms_choose_what_is_scored(frequencies: dict[int, int], chosen: list[int]) -> None:
    assert rare_terms(frequencies, 10_000, at_least=100) == chosen
