"""How good a ranking is, by the judgements of people: the metrics of TREC and BEIR."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log2


def ndcg(ranked: Sequence[str], gains: Mapping[str, int], depth: int = 10) -> float:
    """Linear gain; 1 is the best order there is, 0 where nothing relevant is among the first ``depth``."""
    best = _discounted(sorted(gains.values(), reverse=True)[:depth])
    return _discounted([gains.get(document, 0) for document in ranked[:depth]]) / best if best else 0.0


def recall(ranked: Sequence[str], gains: Mapping[str, int], depth: int = 100) -> float:
    """The share of relevant documents that are among the first ``depth``."""
    relevant = {document for document, gain in gains.items() if gain > 0}
    return len(relevant.intersection(ranked[:depth])) / len(relevant) if relevant else 0.0


def _discounted(gains: Sequence[int]) -> float:
    return sum(gain / log2(position) for position, gain in enumerate(gains, start=2))
