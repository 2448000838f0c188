"""Which sentences of the passages answer a question: by the words that they share, rare ones first; pure."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aperag_agent.tools.findings import Passage

MOST_SENTENCES = 5
LONGEST = 600
SHORTEST = 8
FURTHER_SHARE = 0.4
"""A further sentence must be worth so much of the best one, else it is beside the point."""
PLACE_WEIGHT = 0.15

_END = re.compile(r"(?<=[.!?])[\s]+|(?<=[。！？])|\n+")
_MARKUP = re.compile(r"^[\s#>*\-–•|]+|[*_`]{1,3}|\[([^\]]*)\]\([^)]*\)")


@dataclass(frozen=True, slots=True)
class Chosen:
    """Sentences of one passage, in their order; what was left out between two of them is not closed up."""

    passage: Passage
    text: str
    worth: float


@dataclass(frozen=True, slots=True)
class _Sentence:
    passage: Passage
    place: int
    text: str
    terms: frozenset[str]


def choose(question: str, passages: Sequence[Passage], terms: Callable[[str], Iterable[str]]) -> list[Chosen]:
    """The best first; empty where no sentence shares a word with the question.

    ``terms`` makes the words that are compared, as the full-text index does. A sentence is worth the sum of the rarity
    of the question's words in it, a little more in a passage that the search put first, and nothing for words that a
    better sentence has already said.
    """
    asked = frozenset(terms(question))
    sentences = [sentence for passage in passages for sentence in _sentences(passage, terms)]
    rarity = _rarity(asked, sentences)
    chosen: list[tuple[float, _Sentence]] = []
    said: set[str] = set()
    left = list(sentences)
    while left and len(chosen) < MOST_SENTENCES:
        worth, best = max(((_worth(it, asked, said, rarity), it) for it in left), key=lambda it: (it[0], -it[1].place))
        if worth <= 0 or (chosen and worth < FURTHER_SHARE * chosen[0][0]):
            break
        chosen.append((worth, best))
        said |= best.terms & asked
        left = [it for it in left if it.text != best.text]
    return _by_passage(chosen)


def _sentences(passage: Passage, terms: Callable[[str], Iterable[str]]) -> Iterable[_Sentence]:
    pieces = (_MARKUP.sub(lambda found: found[1] or "", piece).strip() for piece in _END.split(passage.text))
    for place, piece in enumerate(piece for piece in pieces if len(piece) >= SHORTEST):
        text = piece if len(piece) <= LONGEST else piece[: LONGEST - 1] + "…"
        yield _Sentence(passage, place, text, frozenset(terms(text)))


def _rarity(asked: Iterable[str], sentences: Sequence[_Sentence]) -> dict[str, float]:
    counts = Counter(term for sentence in sentences for term in sentence.terms)
    return {term: math.log(1 + len(sentences) / counts[term]) for term in asked if counts[term]}


def _worth(sentence: _Sentence, asked: frozenset[str], said: set[str], rarity: dict[str, float]) -> float:
    shared = sentence.terms & asked
    fresh = sum(rarity[term] for term in shared - said) + 0.3 * sum(rarity[term] for term in shared & said)
    return fresh * (1 + PLACE_WEIGHT / sentence.passage.number)


def _by_passage(chosen: Sequence[tuple[float, _Sentence]]) -> list[Chosen]:
    grouped: dict[int, list[tuple[float, _Sentence]]] = {}
    for worth, sentence in chosen:
        grouped.setdefault(sentence.passage.number, []).append((worth, sentence))
    found = []
    for same in grouped.values():
        ordered = sorted(same, key=lambda it: it[1].place)
        text = ordered[0][1].text
        for (_, before), (_, after) in itertools.pairwise(ordered):
            text += (" " if after.place == before.place + 1 else " … ") + after.text
        found.append(Chosen(ordered[0][1].passage, text, max(worth for worth, _ in same)))
    return sorted(found, key=lambda it: -it.worth)
