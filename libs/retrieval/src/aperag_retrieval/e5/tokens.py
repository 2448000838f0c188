"""Texts as token ids: the pieces that are likeliest together, as SentencePiece's unigram model finds them."""

from __future__ import annotations

import unicodedata

import numpy as np
import numpy.typing as npt

from aperag_retrieval.e5.weights import Array, Vocabulary

FIRST, LAST, UNKNOWN = 0, 2, 3
_SPECIAL = 4
"""Token ids below this stand for no text."""
_SPACE = "\u2581"
"""Begins every word, and stands nowhere else in a piece: so words can be cut one by one, and remembered."""
_LONGEST_PIECE = 16
_UNLIKELY = 10.0
"""How much less likely than the rarest piece a character is that no piece holds."""
_REMEMBERED_WORDS = 20_000
_LONGEST_REMEMBERED = 32
"""What is longer is no word but a sentence of a script without spaces, and does not come again."""
_BASE = 0x9E3779B97F4A7C15
_INVERSE = pow(_BASE, -1, 2**64)

Hashes = npt.NDArray[np.uint64]


class Tokenizer:
    """The vocabulary as a sorted array of hashes, 5 MB in each process; a dict of its strings would be 40."""

    def __init__(self, vocabulary: Vocabulary) -> None:
        pieces = vocabulary.pieces[_SPECIAL:]
        lengths = np.fromiter(map(len, pieces), np.int64, len(pieces))
        ends = np.cumsum(lengths)
        sums, inverses = _sums("".join(pieces)), _powers(_INVERSE, int(ends[-1]))
        starts = ends - lengths
        hashes = (sums[ends] - sums[starts]) * inverses[starts]
        order = np.argsort(hashes)
        self._hashes, self._ids = hashes[order], (order + _SPECIAL).astype(np.int32)
        self._scores = vocabulary.scores[self._ids]
        self._unlikely = float(vocabulary.scores.min()) - _UNLIKELY
        self._replacements = vocabulary.replacements
        self._known: dict[str, list[int]] = {}

    def ids(self, text: str) -> list[int]:
        """Without those that begin and end what a model is given."""
        words = [_SPACE + word for word in _normal(text, self._replacements).split(" ") if word]
        missing = list(dict.fromkeys(word for word in words if word not in self._known))
        cut = dict(zip(missing, self._cut(missing), strict=True))
        found = [token for word in words for token in (cut.get(word) or self._known[word])]
        if len(self._known) > _REMEMBERED_WORDS:
            self._known.clear()
        self._known.update((word, ids) for word, ids in cut.items() if len(word) <= _LONGEST_REMEMBERED)
        return found

    def _cut(self, words: list[str]) -> list[list[int]]:
        """All in one pass over their characters: from each, by way of the pieces that begin there, to the best way on."""
        if not words:
            return []
        text = "".join(words)
        begins, ends, scores, ids = self._pieces(text)
        best = [0.0] + [-np.inf] * len(text)
        came_from, by = list(range(-1, len(text))), [UNKNOWN] * (len(text) + 1)
        at = 0
        for place in range(len(text)):
            alone = best[place] + self._unlikely
            best[place + 1] = max(best[place + 1], alone)
            while at < len(begins) and begins[at] == place:
                end, score = ends[at], best[place] + scores[at]
                if score > best[end]:
                    best[end], came_from[end], by[end] = score, place, ids[at]
                at += 1
        return _ways(words, came_from, by)

    def _pieces(self, text: str) -> tuple[list[int], list[int], list[float], list[int]]:
        """Where in ``text`` which pieces stand, in the order of their beginnings."""
        sums = np.concatenate((_sums(text), np.zeros(_LONGEST_PIECE, np.uint64)))
        to = np.lib.stride_tricks.sliding_window_view(sums[1:], _LONGEST_PIECE)[: len(text)]
        hashes = (to - sums[: len(text), None]) * _powers(_INVERSE, len(text))[:-1, None]
        found = np.searchsorted(self._hashes, hashes)
        found[found == len(self._hashes)] = 0
        begins, lengths = np.nonzero(self._hashes[found] == hashes)
        which = found[begins, lengths]
        ends = begins + lengths + 1
        return begins.tolist(), ends.tolist(), self._scores[which].tolist(), self._ids[which].tolist()


def _normal(text: str, replacements: dict[int, str]) -> str:
    return unicodedata.normalize("NFKC", text).translate(replacements)


def _ways(words: list[str], came_from: list[int], by: list[int]) -> list[list[int]]:
    """Of each word the pieces that led to its end."""
    ways, place = [], sum(map(len, words))
    for word in reversed(words):
        begin, way = place - len(word), []
        while place > begin:
            way.append(by[place])
            place = came_from[place]
        ways.append(way[::-1])
    return ways[::-1]


def _sums(text: str) -> Hashes:
    """``sums[end] - sums[start]`` times the inverse of the base to the power of ``start`` is the hash of what lies between."""
    characters = np.frombuffer(text.encode("utf-32-le", "replace"), "<u4").astype(np.uint64) + np.uint64(1)
    sums: Hashes = np.zeros(len(characters) + 1, np.uint64)
    np.cumsum(characters * _powers(_BASE, len(characters))[:-1], dtype=np.uint64, out=sums[1:])
    return sums


def _powers(base: int, count: int) -> Hashes:
    """From the power 0 to that of ``count``, modulo 2^64."""
    factors: Array = np.full(count + 1, base, np.uint64)
    factors[0] = 1
    powers: Hashes = np.multiply.accumulate(factors)
    return powers
