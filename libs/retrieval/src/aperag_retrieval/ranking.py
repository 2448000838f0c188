"""What the legs of a search found, in one order, and what each of them says of it; pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from aperag_retrieval.fusion import Fused, LegShare
from aperag_retrieval.ports import Candidate


class RecallType(StrEnum):
    VECTOR = "vector_search"
    FULLTEXT = "fulltext_search"


@dataclass(frozen=True)
class Ranked:
    candidate: Candidate
    score: float
    recall_type: RecallType
    legs: tuple[LegShare, ...]


class Scored:
    """What a leg found, in its order, and its scores of everything that any leg found."""

    def __init__(self, found: list[Candidate], scores: dict[str, float]) -> None:
        self.scores = scores
        self._places = {candidate.chunk_id: place for place, candidate in enumerate(found, start=1)}

    def share(self, leg: RecallType, chunk_id: str, weight: float, share: float) -> LegShare:
        return LegShare(leg, self._places.get(chunk_id), self.scores.get(chunk_id), weight, share)


def fused_hit(item: Fused, candidate: Candidate, by_meaning: Scored, by_words: Scored) -> Ranked:
    legs = (
        by_meaning.share(RecallType.VECTOR, item.chunk_id, item.dense_weight, item.dense_share),
        by_words.share(RecallType.FULLTEXT, item.chunk_id, 1 - item.dense_weight, item.score - item.dense_share),
    )
    recall_type = RecallType.VECTOR if item.dense_share * 2 > item.score else RecallType.FULLTEXT
    return Ranked(candidate, item.score, recall_type, legs)


def alone(leg: RecallType, found: list[Candidate]) -> list[Ranked]:
    return [
        Ranked(it, it.score, leg, (LegShare(leg, place, it.score, 1.0, it.score),))
        for place, it in enumerate(found, start=1)
    ]


def distinct(ranked: Iterable[Ranked], wanted: int) -> list[Ranked]:
    first: dict[str, Ranked] = {}
    for item in ranked:
        if len(first) == wanted:
            break
        first.setdefault(item.candidate.text_hash, item)
    return list(first.values())
