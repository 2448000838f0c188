"""A corpus by its name: the real ones where they lie, else a generated one."""

from __future__ import annotations

from itertools import count, islice
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_retrieval.chunking import chunk_document
from bench.corpora import beir, generated
from bench.corpora.document import CorpusDocument, take
from bench.errors import BenchError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

DATA = Path(__file__).parents[3] / "shared" / "data"
"""Beside the checkout: real data for measurement is no part of the project."""
SCIFACT = DATA / "retrieval" / "scifact"
DOCUMENTS = DATA / "documents"
USUAL = {"scifact": 1000, "generated": 1000, "long": 200}
"""Documents where nobody says how many; of what is not named here, all."""
LONG_CHUNKS = 20


def corpus(name: str, documents: int | None = None) -> tuple[str, list[CorpusDocument]]:
    """What it is called in the report, and as many documents as wanted (0: all of them)."""
    wanted = USUAL.get(name, 0) if documents is None else documents
    match name:
        case "generated":
            return name, list(_pages(wanted or USUAL[name]))
        case "scifact" if beir.is_retrieval_set(SCIFACT):
            return name, take(_as_text(beir.read_texts(SCIFACT)), wanted)
        case "documents" if DOCUMENTS.is_dir():
            return name, take(_on_disk(DOCUMENTS), wanted)
        case "long":
            return name, list(islice(_long(_texts()), wanted or USUAL[name]))
        case "scifact" | "documents":
            return f"generated ({name} is not at hand)", list(_pages(wanted or USUAL["generated"]))
    return name, take(_folder(Path(name)), wanted)


def _texts() -> Iterator[str]:
    """Abstracts without end; after the last real one, generated pages."""
    if beir.is_retrieval_set(SCIFACT):
        yield from beir.read_texts(SCIFACT).values()
    yield from (generated.page(number) for number in count())


def _pages(wanted: int) -> Iterator[CorpusDocument]:
    return (CorpusDocument(f"page-{number:06d}.md", generated.page(number).encode()) for number in range(wanted))


def _long(texts: Iterable[str]) -> Iterator[CorpusDocument]:
    """Texts joined until the document is cut into at least ``LONG_CHUNKS`` chunks."""
    joined: list[str] = []
    number = 0
    for text in texts:
        joined.append(text)
        if len(joined) < LONG_CHUNKS or len(chunk_document("\n\n".join(joined))) < LONG_CHUNKS:
            continue
        yield CorpusDocument(f"long-{number:05d}.md", "\n\n".join(joined).encode())
        joined, number = [], number + 1


def _as_text(texts: dict[str, str]) -> list[CorpusDocument]:
    return [CorpusDocument(f"{name.replace('/', '_')}.txt", text.encode()) for name, text in texts.items()]


def _on_disk(folder: Path) -> list[CorpusDocument]:
    return [CorpusDocument(path.name, path.read_bytes()) for path in sorted(folder.iterdir()) if path.is_file()]


def _folder(folder: Path) -> list[CorpusDocument]:
    if beir.is_retrieval_set(folder):
        return _as_text(beir.read_texts(folder))
    found = _on_disk(folder) if folder.is_dir() else []
    if not found:
        message = f"no corpus is called {folder}, and no folder with documents either"
        raise BenchError(message, hint="name scifact, documents, long, generated, or a folder that holds documents")
    return found
