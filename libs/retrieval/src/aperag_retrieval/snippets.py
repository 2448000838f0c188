"""Where in a hit the words of the question stand, for people to see at once."""

from __future__ import annotations

import re
from collections.abc import Collection
from dataclasses import dataclass
from functools import lru_cache

from aperag_retrieval.analysis import Analyzer, analyzer_for

WINDOW = 320
"""Characters that fit into a list of hits."""
MOST_MARKS = 200
REMEMBERED_WORDS = 20_000
LONGEST_REMEMBERED = 32
_WORD = re.compile(r"\w+(?:['\u2019.@_/:-]\w+)*")
_PART = re.compile(r"\w+")
_UNSPACED = re.compile("[\u3040-\u30ff\u3400-\u9fff\uac00-\ud7a3\u0e00-\u0eff]")
_BREAK = re.compile(r"[.!?。！？]\s+|\n")


@dataclass(frozen=True)
class Snippet:
    """Offsets in characters of the hit's text; ``marks`` are what matched, whether inside the window or not."""

    start: int
    end: int
    marks: tuple[tuple[int, int], ...]


def snippet(analyzer: Analyzer, text: str, wanted: Collection[str]) -> Snippet:
    """``wanted`` are the question's terms. The window holds as many different ones as fit, else the text's beginning."""
    found = [mark for word in _WORD.finditer(text) for mark in _marks(analyzer, word, wanted)][:MOST_MARKS]
    start, end = _window(text, found)
    return Snippet(start, end, tuple((left, right) for left, right, _ in found))


def _marks(analyzer: Analyzer, word: re.Match[str], wanted: Collection[str]) -> list[tuple[int, int, str]]:
    if _UNSPACED.search(word.group()):
        return _runs(analyzer, word, wanted)
    term = _matching(analyzer, word.group(), wanted)
    if term is None:
        return []
    parts = list(_PART.finditer(word.group()))
    exact = [part for part in parts if _matching(analyzer, part.group(), wanted) is not None]
    if exact and len(exact) < len(parts):
        return [(word.start() + part.start(), word.start() + part.end(), term) for part in exact]
    return [(word.start(), word.end(), term)]


def _runs(analyzer: Analyzer, word: re.Match[str], wanted: Collection[str]) -> list[tuple[int, int, str]]:
    """Pairs of characters that follow each other are one mark."""
    marks: list[tuple[int, int, str]] = []
    for at in range(word.start(), max(word.start() + 1, word.end() - 1)):
        pair = word.string[at : min(at + 2, word.end())]
        term = _matching(analyzer, pair, wanted)
        if term is not None and marks and marks[-1][1] >= at:
            marks[-1] = (marks[-1][0], at + len(pair), marks[-1][2])
        elif term is not None:
            marks.append((at, at + len(pair), term))
    return marks


def _matching(analyzer: Analyzer, written: str, wanted: Collection[str]) -> str | None:
    terms = _terms(analyzer.name, written) if len(written) <= LONGEST_REMEMBERED else analyzer.terms(written)
    return next((term for term in terms if term in wanted), None)


@lru_cache(maxsize=REMEMBERED_WORDS)
def _terms(analyzer: str, written: str) -> tuple[str, ...]:
    """Most words of a hit stand in other hits, too, and analysing them cost nine tenths of a search."""
    return tuple(analyzer_for(analyzer).terms(written))


def _window(text: str, found: list[tuple[int, int, str]]) -> tuple[int, int]:
    best, begin = 0, 0
    for place, (left, _, _) in enumerate(found):
        kinds = {term for start, end, term in found[place:] if end - left <= WINDOW}
        if len(kinds) > best:
            best, begin = len(kinds), left
    if best == 0 or len(text) <= WINDOW:
        return 0, min(len(text), WINDOW)
    # From the sentence's beginning where that is near, else from a word's.
    earliest = max(0, begin - WINDOW // 4)
    breaks = [match.end() for match in _BREAK.finditer(text, earliest, begin)]
    start = breaks[-1] if breaks else 0 if earliest == 0 else text.find(" ", earliest, begin) + 1 or earliest
    end = min(len(text), start + WINDOW)
    space = text.rfind(" ", start, end) if end < len(text) else -1
    last = max((right for left, right, _ in found if left < end), default=0)
    return start, space if space > last else end
