"""Which sentences of the passages answer a question: by the words that they share, rare ones first; pure."""

from __future__ import annotations

import itertools
import math
import re
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_retrieval.analysis import HAN, KANA

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from aperag_agent.tools.findings import Passage

MOST_SENTENCES = 5
LONGEST = 600
SHORTEST = 8
FURTHER_SHARE = 0.4
"""A further sentence must be worth so much of the best one, else it is beside the point."""
PLACE_WEIGHT = 0.15

HEADING_SHARE = 0.6
"""What a word of the heading counts for a sentence below it."""

_END = re.compile(r"(?<=[.!?])\s+|(?<=[。！？])")
_MARKUP = re.compile(r"^[\s#>*+\-–•|]+|[*_`]{1,3}|\[([^\]]*)\]\([^)]*\)")
_HEADING = re.compile(r"\s{0,3}#{1,6}\s")
_ALONE = re.compile(r"\s*(?:[*+\-–•|>]|\d+[.)])\s?")
"""Begins a line that does not go on with the one before."""
_WIDE = re.compile(f"[{HAN}{KANA}、-〿＀-￯]$")
"""Ends in a script that is written without spaces: a line break in it stands for nothing."""


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
    heading: str
    heading_terms: frozenset[str]


def choose(question: str, passages: Sequence[Passage], terms: Callable[[str], Iterable[str]]) -> list[Chosen]:
    """The best first; empty where no sentence shares a word with the question.

    ``terms`` makes the words that are compared, as the full-text index does. A sentence is worth the sum of the rarity
    of the question's words in it and, less, in the heading above it, a little more in a passage that the search put
    first, and less for words that a better sentence has already said.
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
        said |= (best.terms | best.heading_terms) & asked
        left = [it for it in left if it.text != best.text]
    return _by_passage(chosen)


def _sentences(passage: Passage, terms: Callable[[str], Iterable[str]]) -> Iterable[_Sentence]:
    titles = passage.metadata.get("titles") or [""]
    place, heading = 0, str(titles[-1])
    heading_terms = frozenset(terms(heading))
    for block in _blocks(passage.text):
        if _HEADING.match(block):
            heading = _bare(block)
            heading_terms = frozenset(terms(heading))
            continue
        for piece in map(_bare, _END.split(block)):
            if len(piece) < SHORTEST:
                continue
            text = piece if len(piece) <= LONGEST else piece[: LONGEST - 1] + "…"
            yield _Sentence(passage, place, text, frozenset(terms(text)), heading, heading_terms)
            place += 1


def _blocks(text: str) -> list[str]:
    """Paragraphs, items and headings: the lines of a paragraph belong together, wherever they were broken."""
    blocks: list[str] = []
    goes_on = False
    for line in text.splitlines():
        if not line.strip():
            goes_on = False
        elif goes_on and not _ALONE.match(line) and not _HEADING.match(line):
            blocks[-1] += ("" if _WIDE.search(blocks[-1]) else " ") + line.strip()
        else:
            blocks.append(line.strip())
            goes_on = not _HEADING.match(line)
    return blocks


def _bare(text: str) -> str:
    return _MARKUP.sub(lambda found: found[1] or "", text).strip()


def _rarity(asked: Iterable[str], sentences: Sequence[_Sentence]) -> dict[str, float]:
    counts = Counter(term for sentence in sentences for term in sentence.terms | sentence.heading_terms)
    return {term: math.log(1 + len(sentences) / counts[term]) for term in asked if counts[term]}


def _worth(sentence: _Sentence, asked: frozenset[str], said: set[str], rarity: dict[str, float]) -> float:
    shared = sentence.terms & asked
    fresh = sum(rarity[term] for term in shared - said) + 0.3 * sum(rarity[term] for term in shared & said)
    above = (sentence.heading_terms & asked) - sentence.terms - said
    fresh += HEADING_SHARE * sum(rarity.get(term, 0.0) for term in above)
    return fresh * (1 + PLACE_WEIGHT / sentence.passage.number)


def _by_passage(chosen: Sequence[tuple[float, _Sentence]]) -> list[Chosen]:
    grouped: dict[int, list[tuple[float, _Sentence]]] = {}
    for worth, sentence in chosen:
        grouped.setdefault(sentence.passage.number, []).append((worth, sentence))
    found = []
    for same in grouped.values():
        ordered = sorted(same, key=lambda it: it[1].place)
        first = ordered[0][1]
        # What a sentence is about may stand above it only.
        named = first.heading and not first.heading_terms <= first.terms
        text = f"{first.heading}: {first.text}" if named else first.text
        for (_, before), (_, after) in itertools.pairwise(ordered):
            text += (" " if after.place == before.place + 1 else " … ") + after.text
        found.append(Chosen(first.passage, text, max(worth for worth, _ in same)))
    return sorted(found, key=lambda it: -it.worth)
