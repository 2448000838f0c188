"""What was measured of how the vectors of a model behave: how much they weigh beside words, and what a cosine means."""

from __future__ import annotations

from dataclasses import dataclass

from aperag_common.db.models.chunk_vector import E5_MODEL


@dataclass(frozen=True, slots=True)
class Traits:
    """``dense_weight``: the share of meaning in a fused score, elsewhere than ``across_scripts``.

    ``unmatchable``: how much of its meaning's score a chunk keeps that the words of the query cannot match.
    ``cosine_of_0`` and ``cosine_of_1`` are the ends of the scale of similarities. It is such that nearly all answers reach
    0.2, which agents ask for, and unrelated texts mostly do not: ADR 0033 has the shares.
    """

    dense_weight: float = 0.3
    across_scripts: float = 0.9
    unmatchable: float = 0.9
    cosine_of_0: float = 0.0
    cosine_of_1: float = 1.0

    def similarity(self, cosine: float) -> float:
        return (cosine - self.cosine_of_0) / (self.cosine_of_1 - self.cosine_of_0)


_OTHERS = Traits()
_MEASURED = {E5_MODEL: Traits(dense_weight=0.5, cosine_of_0=-0.07, cosine_of_1=0.45)}


def traits_of(model_id: str) -> Traits:
    """Those of the Universal Sentence Encoder where nothing was measured."""
    return _MEASURED.get(model_id, _OTHERS)
