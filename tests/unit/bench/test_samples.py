"""Percentiles, against values worked out by hand."""

from __future__ import annotations

import pytest
from bench.measure.samples import percentile, spread


@pytest.mark.parametrize(
    ("share", "expected"),
    [(0.0, 10.0), (0.25, 20.0), (0.5, 30.0), (0.95, 48.0), (1.0, 50.0), (0.6, 34.0)],
)
def test_a_percentile_lies_on_the_line_between_its_neighbours(share: float, expected: float) -> None:
    # Five samples: the place of a share is 4 × share, so 0.95 is 3.8: four fifths of the way from 40 to 50.
    assert percentile([50.0, 10.0, 40.0, 20.0, 30.0], share) == pytest.approx(expected)


def test_a_single_sample_is_every_percentile() -> None:
    assert spread([7.0]) == {"p50": 7.0, "p95": 7.0, "p99": 7.0, "max": 7.0}


def test_a_spread_tells_median_tail_and_worst() -> None:
    assert spread([float(n) for n in range(101)]) == {"p50": 50.0, "p95": 95.0, "p99": 99.0, "max": 100.0}
