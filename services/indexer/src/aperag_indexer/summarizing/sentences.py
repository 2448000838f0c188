"""The first sentence of a text that says something: Korean, Chinese, Japanese, English and their like; pure."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aperag_retrieval.analysis import HAN, HANGUL, KANA
from aperag_retrieval.markdown import BlockKind, blocks

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

FEWEST_WORDS = 5
FEWEST_CHARACTERS = 10
"""Of a script that writes many a word as one or two characters."""
LONGEST = 240
LETTERS_SHARE = 0.6

_EASTERN = f"{HAN}{KANA}{HANGUL}"
_CLOSING = "[\"'”’»)\\]」』）]{0,3}"
_END = re.compile(f"[.!?…]{{1,4}}{_CLOSING}(?=\\s|$)|[。！？｡]{{1,4}}{_CLOSING}")
_ENDED = re.compile(f"(?:{_END.pattern})$")
# A full stop behind one of these, or behind a single letter, ends no sentence.
_ABBREVIATED = re.compile(
    r"(?:\b(?:e\.g|i\.e|cf|vs|etc|approx|dept|dr|mr|mrs|ms|prof|st|no|nr|fig|vol|pp|inc|ltd|co|corp|jr|sr|al)|\b[A-Za-z])\.$",
    re.IGNORECASE,
)
_ITEM = re.compile(r"^[ \t]*(?:[-*+•·]|\d{1,3}[.)])[ \t]+")
_QUOTE = re.compile(r"^[ \t]*(?:>[ \t]?)+")
_IMAGE = re.compile(r"!\[[^\]\n]{0,300}\]\([^)\n]{0,2000}\)")
_LINK = re.compile(r"\[([^\]\n]{1,300})\]\([^)\n]{0,2000}\)")
_TAG = re.compile(r"</?[A-Za-z][^<>\n]{0,300}>|<!--.{0,1000}?-->")
_MARKS = re.compile(r"\*{1,3}|(?<!\w)_{1,3}|_{1,3}(?!\w)|`{1,3}|~~")
_BETWEEN_EASTERN = re.compile(f"(?<=[{HAN}{KANA}。！？、，；：]) (?=[{HAN}{KANA}「『（])")
_WORD = re.compile(f"[^\\W\\d_{_EASTERN}]+")
_CHARACTER = re.compile(f"[{_EASTERN}]")
_LETTER = re.compile(r"[^\W\d_]")
_BOILERPLATE = re.compile(
    r"©|\(c\)\s*\d{4}|copyright|all rights reserved|table of contents|cookie|confidential|subscribe|click here|"
    r"page \d+ of|저작권|무단 ?(?:전재|복제)|목차|쿠키|版权所有|版權所有|保留所有权利|目录|目錄|目次|無断転載|著作権",
    re.IGNORECASE,
)


def lead(texts: Iterable[str]) -> str:
    """The first sentence worth reading; where none ends, the first paragraph that is long enough; else empty."""
    unended = ""
    for text in texts:
        for paragraph in paragraphs(text):
            for sentence in sentences(paragraph):
                if not is_meaningful(sentence):
                    continue
                if _ENDED.search(sentence):
                    return clipped(sentence)
                unended = unended or sentence
    return clipped(unended)


def paragraphs(text: str) -> Iterator[str]:
    """Prose in one line each, without its marks; headings, tables and code are left out."""
    for block in blocks(text):
        if block.kind is not BlockKind.PROSE:
            continue
        lines: list[str] = []
        for line in text[block.start : block.end].splitlines():
            bare = _QUOTE.sub("", line)
            if _ITEM.match(bare) and lines:
                yield _plain(lines)
                lines = []
            lines.append(_ITEM.sub("", bare, count=1))
        yield _plain(lines)


def sentences(paragraph: str) -> Iterator[str]:
    start = 0
    for end in _END.finditer(paragraph):
        after = paragraph[end.end() :].lstrip()
        # "approx. ten" goes on, and so does "e.g. Tea".
        if end.group().startswith(".") and (after[:1].islower() or _ABBREVIATED.search(paragraph[start : end.end()])):
            continue
        yield paragraph[start : end.end()].strip()
        start = end.end()
    if rest := paragraph[start:].strip():
        yield rest


def is_meaningful(sentence: str) -> bool:
    if _BOILERPLATE.search(sentence):
        return False
    visible = sum(not sign.isspace() for sign in sentence)
    if len(_LETTER.findall(sentence)) < LETTERS_SHARE * visible:
        return False
    words, characters = len(_WORD.findall(sentence)), len(_CHARACTER.findall(sentence))
    return words / FEWEST_WORDS + characters / FEWEST_CHARACTERS >= 1


def clipped(text: str, longest: int = LONGEST) -> str:
    """Cut between words where there are any."""
    if len(text) <= longest:
        return text
    kept = text[: longest - 1]
    words, space, _ = kept.rpartition(" ")
    return (words if space and len(words) > longest // 2 else kept).rstrip(" ,;:、，") + "…"


def _plain(lines: list[str]) -> str:
    whole = " ".join(line.strip() for line in lines)
    for pattern, by in ((_IMAGE, ""), (_LINK, r"\1"), (_TAG, ""), (_MARKS, "")):
        whole = pattern.sub(by, whole)
    return _BETWEEN_EASTERN.sub("", " ".join(whole.split()))
