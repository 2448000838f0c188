"""What makes a collection's summary."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True)
class DocumentExcerpt:
    """A document as a summary may use it; ``texts`` are its first chunks, ``titles`` the headings above the first."""

    name: str
    titles: tuple[str, ...]
    texts: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class CollectionExcerpt:
    """``documents`` is the number of all of them, ``sample`` an even choice in the order of their names."""

    title: str
    documents: int
    sample: tuple[DocumentExcerpt, ...]


class Summarizer(Protocol):
    """Makes the text; empty where there is nothing to say. Fails with ``ApeRAGError`` only."""

    async def summarize(self, collection: CollectionExcerpt) -> str: ...
