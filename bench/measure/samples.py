"""Samples of a duration or a rate, in the few numbers that are told of them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def percentile(values: Sequence[float], share: float) -> float:
    """``share`` of 0..1; between two samples the line that joins them."""
    return float(np.percentile(values, share * 100))


def spread(values: Sequence[float]) -> dict[str, float]:
    """Median, tail and the worst."""
    return {
        "p50": percentile(values, 0.5),
        "p95": percentile(values, 0.95),
        "p99": percentile(values, 0.99),
        "max": max(values),
    }
