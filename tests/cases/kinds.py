"""What a small input must come to: its text, its chunks, what finds it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path

from aperag_indexer.adapters.readers import read
from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for
from aperag_retrieval.chunking import ChunkDraft, ParsedDocument, chunk_document
from aperag_retrieval.context import contextual
from aperag_retrieval.lexical import inverse_frequency, query_terms, weigh

AVERAGE_LENGTH = 200.0


@cache
def parsed(path: Path) -> ParsedDocument:
    return read(str(path), path.suffix.lower())


@dataclass(frozen=True)
class Text:
    """The text of ``file`` holds all of ``holds`` and nothing of ``lacks``."""

    file: str
    holds: tuple[str, ...]
    lacks: tuple[str, ...] = ()

    def faults(self, folder: Path) -> Iterator[str]:
        text = parsed(folder / self.file).markdown
        yield from (f"lacks {wanted!r}" for wanted in self.holds if wanted not in text)
        yield from (f"holds {unwanted!r}" for unwanted in self.lacks if unwanted in text)


@dataclass(frozen=True)
class Order:
    """All of ``parts`` stand in the text of ``file`` in this order."""

    file: str
    parts: tuple[str, ...]

    def faults(self, folder: Path) -> Iterator[str]:
        text = parsed(folder / self.file).markdown
        at = 0
        for part in self.parts:
            found = text.find(part, at)
            if found < 0:
                yield f"{part!r} is missing or out of place"
                return
            at = found + len(part)


@dataclass(frozen=True)
class Header:
    """Every chunk that holds ``row`` holds ``head`` too."""

    file: str
    row: str
    head: str

    def faults(self, folder: Path) -> Iterator[str]:
        rows = [chunk for chunk in chunk_document(parsed(folder / self.file)) if self.row in chunk.text]
        if not rows or any(self.head not in chunk.text for chunk in rows):
            yield f"{len(rows)} chunks with rows, not all with {self.head!r}"


@dataclass(frozen=True)
class Titles:
    """The chunk that holds ``text`` stands below these headings."""

    file: str
    text: str
    titles: tuple[str, ...]

    def faults(self, folder: Path) -> Iterator[str]:
        chunks = chunk_document(parsed(folder / self.file))
        found = [tuple(chunk.details["titles"]) for chunk in chunks if self.text in chunk.text]
        if self.titles not in found:
            yield f"stands below {found}"


@dataclass(frozen=True)
class Found:
    """``query`` finds a chunk of ``file`` that holds ``text`` first among all files of its folder."""

    file: str
    query: str
    text: str = ""

    def faults(self, folder: Path) -> Iterator[str]:
        path = folder / self.file
        best = next(ranking(path.parent, self.query), None)
        if best is None:
            yield f"{self.query!r} finds nothing"
        elif best[0] != path.name or self.text not in best[1].text:
            yield f"{self.query!r} finds {best[0]} first: {best[1].text[:60]!r}"


Case = Text | Order | Header | Titles | Found


@cache
def indexed(folder: Path) -> list[tuple[str, ChunkDraft, dict[int, float]]]:
    paths = sorted(path for path in folder.iterdir() if path.is_file())
    chunks = [(path.name, chunk) for path in paths for chunk in chunk_document(parsed(path))]
    texts = [contextual(name, chunk.details["titles"], chunk.text) for name, chunk in chunks]
    weighed = weigh(analyzer_for(DEFAULT_ANALYZER), texts, AVERAGE_LENGTH)
    return [(name, chunk, row.weights) for (name, chunk), row in zip(chunks, weighed, strict=True)]


def ranking(folder: Path, query: str) -> Iterator[tuple[str, ChunkDraft]]:
    """BM25 as the full-text leg computes it, in memory."""
    rows = indexed(folder)
    terms = query_terms(analyzer_for(DEFAULT_ANALYZER), query)
    held = {term: sum(term in weights for _, _, weights in rows) for term in terms}
    rarity = {term: count * inverse_frequency(len(rows), held[term]) for term, count in terms.items()}
    scored = [(sum(rarity[t] * weights.get(t, 0.0) for t in terms), name, chunk) for name, chunk, weights in rows]
    best = sorted((it for it in scored if it[0] > 0), key=lambda it: -it[0])
    return ((name, chunk) for _, name, chunk in best)
