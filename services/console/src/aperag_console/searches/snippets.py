"""The part of a passage that answers a question best, and the words in it to mark; pure."""

from __future__ import annotations

import re
import unicodedata
from itertools import pairwise

WINDOW = 420
"""Characters of a passage that are shown at first."""
SHORTEST_STEM = 4
_LATIN = re.compile(r"[0-9A-Za-zÀ-ɏ_][0-9A-Za-zÀ-ɏ_'-]*")
_RULE = re.compile(r"[\s|:-]*-{2,}[\s|:-]*")
_SIGNS = re.compile(r"^#{1,6} |\*\*|`+|\s*\|\s*|!?\[(?P<label>[^\]]*)\]\([^)\s]*\)")
_UNSPACED = re.compile(r"[぀-ヿ㐀-鿿豈-﫿가-힣]+")
_COMMON = frozenset(
    {"a", "an", "and", "are", "as", "at", "be", "by", "can", "do", "does", "for", "from", "has", "have", "how", "i"}
    | {"if", "in", "is", "it", "its", "of", "on", "or", "our", "that", "the", "their", "there", "this", "to", "was"}
    | {"we", "what", "when", "where", "which", "who", "why", "will", "with", "you", "your"}
)


def words_of(query: str) -> list[str]:
    """What to mark: words without their endings, and pairs of characters where a script has no spaces."""
    text = unicodedata.normalize("NFKC", query)
    latin = [word.lower() for word in _LATIN.findall(text)]
    stems = [_stem(word) for word in latin if word not in _COMMON]
    pairs = ["".join(pair) for run in _UNSPACED.findall(text) for pair in pairwise(run)]
    return list(dict.fromkeys([*stems, *pairs]))


def _stem(word: str) -> str:
    for ending in ("ing", "ies", "ed", "es", "s"):
        if word.endswith(ending) and len(word) - len(ending) >= SHORTEST_STEM:
            return word[: -len(ending)]
    return word


def plain(text: str) -> str:
    """Without the signs of Markdown, which passages are kept in."""
    lines = (line for line in text.splitlines() if not _RULE.fullmatch(line))
    return "\n".join(_SIGNS.sub(_sign, line).strip(" ·") for line in lines).strip()


def _sign(match: re.Match[str]) -> str:
    if match["label"] is not None:
        return match["label"]
    return " · " if match[0].strip() == "|" else ""


def window_of(text: str, words: list[str], *, length: int = WINDOW) -> tuple[str, str, str]:
    """(what comes before, what is shown, what comes after): the stretch with most of the words."""
    if len(text) <= length:
        return "", text, ""
    folded = text.lower()
    places = sorted(match.start() for word in words for match in re.finditer(re.escape(word), folded))
    best = max(places, key=lambda start: sum(start <= it < start + length for it in places), default=0)
    start = _edge(text, max(best - length // 6, 0))
    end = min(start + length, len(text))
    return text[:start], text[start:end], text[end:]


def _edge(text: str, near: int) -> int:
    """Not within a word, where one ends soon."""
    if near == 0:
        return 0
    found = re.search(r"\s", text[near : near + 40])
    return near + found.end() if found else near
