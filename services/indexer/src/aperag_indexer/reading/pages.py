"""Where the pages of a document lie in its Markdown."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING

from aperag_retrieval.chunking import PageSpan

if TYPE_CHECKING:
    from collections.abc import Mapping


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


def paged(text: str, mark: str) -> tuple[str, tuple[PageSpan, ...]]:
    """The text without the marks that stand where pages end, and its pages from 0."""
    parts = text.split(mark)
    ends = list(accumulate(map(len, parts)))
    spans = (PageSpan(n, end - len(part), end) for n, (part, end) in enumerate(zip(parts, ends, strict=True)))
    return "".join(parts), tuple(spans)
