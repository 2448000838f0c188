"""Where the pages of a document lie in its Markdown."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_retrieval.chunking import PageSpan

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence


def join_pages(pages: Mapping[int, str]) -> tuple[str, tuple[PageSpan, ...]]:
    """The Markdown of pages that were read one by one, by their numbers from 0."""
    parts: list[str] = []
    spans: list[PageSpan] = []
    position = 0
    for number in sorted(pages):
        text = pages[number].strip("\n") + "\n\n"
        if not text.strip():
            continue
        parts.append(text)
        spans.append(PageSpan(number, position, position + len(text)))
        position += len(text)
    return "".join(parts), tuple(spans)


def locate_pages(markdown: str, page_texts: Sequence[str]) -> tuple[PageSpan, ...]:
    """Spans of ``markdown`` that hold the pages whose plain texts are given in order.

    The reader gives structure for the whole document and plain text per page. Both hold the same letters in the
    same order, so a page begins where as many letters have passed as the pages before it hold. What the Markdown
    drops (running headers) shifts a border by a few words; the last border is always the end.
    """
    letters = [sum(map(str.isalnum, text)) for text in page_texts]
    total = sum(letters)
    if total == 0:
        return ()
    scale = sum(map(str.isalnum, markdown)) / total
    borders = _positions(markdown, [scale * sum(letters[:i]) for i in range(1, len(letters))])
    starts = [0, *borders]
    ends = [*borders, len(markdown)]
    return tuple(PageSpan(i, start, end) for i, (start, end) in enumerate(zip(starts, ends, strict=True)))


def _positions(text: str, counts: Sequence[float]) -> list[int]:
    """For each ascending letter count, where the text goes on after that many letters: at its next line or word."""
    positions: list[int] = []
    seen = 0
    passed = 0
    for position, character in enumerate(text):
        if not character.isalnum():
            continue
        while len(positions) < len(counts) and seen >= counts[len(positions)] - 0.5:
            positions.append(max(text.rfind("\n", passed, position) + 1, passed))
        seen += 1
        passed = position + 1
    return positions + [len(text)] * (len(counts) - len(positions))
