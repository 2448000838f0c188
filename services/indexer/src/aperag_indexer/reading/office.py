"""Parts of Office documents that their readers leave out: what reviewers wrote, what a speaker says."""

from __future__ import annotations

import posixpath
import re
import zipfile
from typing import TYPE_CHECKING, NamedTuple

from aperag_indexer.reading.text import decode
from aperag_indexer.reading.xml import read_xml

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aperag_indexer.reading.records import Record

_COMMENTS = "word/comments.xml"
_PRESENTATION = "ppt/presentation.xml"
_SLIDE = re.compile(r"ppt/slides/slide(\d+)\.xml")


def comments_of(path: Path) -> str:
    """The comments of a .docx as a section of their own; empty where there are none."""
    with zipfile.ZipFile(path) as packed:
        if _COMMENTS not in packed.namelist():
            return ""
        root = _part(packed, _COMMENTS)
    said = [(_attribute(comment, "author"), _text(comment)) for comment in root.children]
    lines = [f"- {author}: {text}" if author else f"- {text}" for author, text in said if text]
    return "\n\n## Comments\n\n" + "\n".join(lines) + "\n" if lines else ""


class Slide(NamedTuple):
    """``stored`` is its place among the slides as they are numbered in the archive, from 0."""

    stored: int
    notes: str


def shown_slides(path: Path) -> list[Slide]:
    """In the order of the show, which is not the order in which slides are stored once somebody moved one."""
    with zipfile.ZipFile(path) as packed:
        found = (_SLIDE.fullmatch(name) for name in packed.namelist())
        stored = [slide.group() for slide in sorted((f for f in found if f), key=lambda slide: int(slide.group(1)))]
        names = _targets(packed, _PRESENTATION)
        used = (below.text for entry in _all(_part(packed, _PRESENTATION), "sldId") for below in entry.children)
        shown = (names[name] for name in used if name in names)
        return [Slide(stored.index(part), _notes_to(packed, part)) for part in shown if part in stored]


def _notes_to(packed: zipfile.ZipFile, slide: str) -> str:
    pages = (target for target in _targets(packed, slide).values() if "/notesSlides/" in target)
    return " ".join(_notes(_part(packed, page)) for page in pages if page in packed.namelist())


def _notes(page: Record) -> str:
    """The page also repeats the slide and its number, which are other placeholders."""
    bodies = (shape for shape in _all(page, "sp") if any(_attribute(ph, "type") == "body" for ph in _all(shape, "ph")))
    return " ".join(_text(body) for body in bodies).strip()


def _targets(packed: zipfile.ZipFile, part: str) -> dict[str, str]:
    """The parts that a part refers to, by the names it uses for them."""
    folder, _, name = part.rpartition("/")
    relations = f"{folder}/_rels/{name}.rels"
    if relations not in packed.namelist():
        return {}
    found = _all(_part(packed, relations), "Relationship")
    return {
        _attribute(r, "Id"): posixpath.normpath(posixpath.join("/", folder, _attribute(r, "Target")))[1:] for r in found
    }


def _part(packed: zipfile.ZipFile, name: str) -> Record:
    return read_xml(decode(packed.read(name)))


def _attribute(record: Record, name: str) -> str:
    return next((child.text for child in record.children if child.name == name and not child.children), "")


def _all(record: Record, name: str) -> Iterator[Record]:
    for child in record.children:
        if child.name == name:
            yield child
        yield from _all(child, name)


def _text(record: Record) -> str:
    return " ".join(" ".join(run.text for run in _all(record, "t")).split())
