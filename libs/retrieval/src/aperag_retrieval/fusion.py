"""Two rankings into one: each leg scaled to 0..1 over the union of candidates, then a weighted sum."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

_EXACT = re.compile(r"\w*\d\w*")
LEAST_EXACT = 3


def names_exactly(query: str) -> bool:
    """Whether it holds a number or part number: these are the same in every script, so words count as usual."""
    return any(len(word) >= LEAST_EXACT for word in _EXACT.findall(query))


@dataclass(frozen=True)
class LegShare:
    """What one leg says of a hit: its place among what that leg found (None: it did not find it by itself), the leg's own
    score (a cosine, or BM25's), how much the leg counts, and what of the hit's score it gave.
    """

    leg: str
    rank: int | None
    score: float | None
    weight: float
    share: float


@dataclass(frozen=True)
class Fused:
    """``dense_share`` is what of ``score`` the dense leg gave, which counted with ``dense_weight``."""

    chunk_id: str
    score: float
    dense_share: float
    dense_weight: float


def fuse(
    dense: Mapping[str, float],
    lexical: Mapping[str, float],
    dense_weight: float,
    unmatchable: Mapping[str, float] = MappingProxyType({}),
) -> list[Fused]:
    """Best first. A chunk that a leg has no score for counts there as its worst one.

    The query's words cannot stand in ``unmatchable`` chunks, which are written in another script: that BM25 does not
    find them says nothing, so this part of their meaning's score is all that counts.
    """
    scaled_dense, scaled_lexical = _scaled(dense), _scaled(lexical)
    fused: list[Fused] = []
    for chunk_id in dense.keys() | lexical.keys():
        dense_share = dense_weight * scaled_dense.get(chunk_id, 0.0)
        if chunk_id in unmatchable and not lexical.get(chunk_id):
            weight = unmatchable[chunk_id]
            dense_share = score = weight * scaled_dense.get(chunk_id, 0.0)
            fused.append(Fused(chunk_id, score, dense_share, weight))
            continue
        score = dense_share + (1 - dense_weight) * scaled_lexical.get(chunk_id, 0.0)
        fused.append(Fused(chunk_id, score, dense_share, dense_weight))
    return sorted(fused, key=lambda item: (-item.score, item.chunk_id))


def _scaled(scores: Mapping[str, float]) -> dict[str, float]:
    if not scores:
        return {}
    low, high = min(scores.values()), max(scores.values())
    if high == low:
        return dict.fromkeys(scores, 1.0 if high > 0 else 0.0)
    return {chunk_id: (score - low) / (high - low) for chunk_id, score in scores.items()}
