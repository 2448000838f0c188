"""EPUB books: every chapter of the spine, in its order."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field
from typing import TYPE_CHECKING
from urllib.parse import unquote

from aperag_common import errors
from aperag_indexer.reading.ooxml.package import Package, attribute, child, children, opened
from aperag_indexer.reading.text import decode
from aperag_retrieval.chunking import ReadWarning

if TYPE_CHECKING:
    from pathlib import Path

_CONTAINER = "META-INF/container.xml"


@dataclass
class Book:
    """``chapters`` are HTML."""

    title: str | None = None
    chapters: list[str] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)


def read_book(path: Path) -> Book:
    with opened(path) as packed:
        package = Package(packed)
        container = package.part(_CONTAINER)
        named = next(iter(container.iter("{*}rootfile")), None) if container is not None else None
        where = unquote(attribute(named, "full-path") or "")
        root = package.part(where)
        if root is None:
            message = "The book is damaged: it does not say what its chapters are. Save it again and upload that."
            raise errors.CorruptDocument(message)
        title = next((e.text.strip() for e in root.iter("{*}title") if e.text and e.text.strip()), None)
        book = Book(title)
        folder = posixpath.dirname(where)
        items = {attribute(i, "id"): attribute(i, "href") or "" for i in children(child(root, "manifest"), "item")}
        for entry in children(child(root, "spine"), "itemref"):
            address = items.get(attribute(entry, "idref"), "").partition("#")[0]
            chapter = _found(package, folder, address)
            if chapter is None:
                message = "a chapter that the book names is not in it"
                book.warnings.append(ReadWarning("missing_part", address or str(attribute(entry, "idref")), message))
            else:
                book.chapters.append(decode(package.read(chapter)))
        return book


def _found(package: Package, folder: str, address: str) -> str | None:
    """Addresses are URLs, names in the archive are not; some programs write one for the other."""
    for written in (unquote(address), address):
        name = posixpath.normpath(posixpath.join(folder, written))
        if package.has(name):
            return name
    return None
