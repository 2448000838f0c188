"""Word documents as Markdown: everything that a page shows, once, in the order in which it is read."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aperag_indexer.reading.ooxml import drawings
from aperag_indexer.reading.ooxml.inline import Inline
from aperag_indexer.reading.ooxml.numbering import Numbering
from aperag_indexer.reading.ooxml.package import Package, attribute, child, children, name_of, opened, value_of
from aperag_indexer.reading.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aperag_indexer.reading.ooxml.package import Element

PAGE_BREAK = "\x0c"
"""Stands in the text where a page ends, until the pages are counted."""
DEEPEST_HEADING = 6
_HEADING_STYLE = re.compile(r"heading (\d)$")
_LOOKS_LIKE_MARKDOWN = re.compile(r"(?=#{1,6}\s|\||```|~~~)")
_NOTES = {"footnotes": "footnotes", "endnotes": "endnotes"}
_ONLY_A_PAGE_NUMBER = re.compile(r"\W*(?:page|seite|第|- )?\W*\d*\W*(?:(?:of|von|/|页|頁)\W*\d*\W*)?", re.IGNORECASE)


def markdown_of(path: Path) -> str:
    """With ``PAGE_BREAK`` where the pages that Word laid out last end."""
    with opened(path) as packed:
        return _Document(Package(packed)).markdown()


@dataclass
class _Style:
    level: int | None = None
    number: tuple[str, int] | None = None


@dataclass
class _Document:
    package: Package
    lines: list[str] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        main = self.package.main or "word/document.xml"
        self._related = {r.kind: r.target for r in self.package.relations(main).values()}
        self._main = main
        self._styles = _styles(self.package.part(self._related.get("styles")))
        self._numbering = Numbering.of(self.package.part(self._related.get("numbering")))
        self._notes = {kind: self._notes_of(kind) for kind in _NOTES}
        self._inline = Inline()
        self._list: str | None = None

    def markdown(self) -> str:
        root = self.package.part(self._main)
        self._inline = Inline(
            laid_out=root is not None and next(root.iter("{*}lastRenderedPageBreak"), None) is not None
        )
        body = child(root, "body")
        if body is not None:
            self._blocks(body)
        self._section("Comments", self._comments())
        self._section("Headers and footers", self._margins())
        return "\n\n".join(self.lines) + "\n"

    def _section(self, title: str, lines: list[str]) -> None:
        if lines:
            self.lines += [f"## {title}", "\n".join(lines)]

    def _blocks(self, element: Element) -> None:
        for block in element:
            name = name_of(block)
            if name == "p":
                self._paragraph(block)
            elif name == "tbl":
                self._table(block)
            elif name not in _SKIPPED:
                self._blocks(block)  # content controls, insertions and whatever wraps paragraphs

    def _paragraph(self, paragraph: Element) -> None:
        found = self._inline.read(paragraph)
        text = found.text.strip(" ")
        if text.strip():
            content, is_item = self._formatted(paragraph, text)
            self._add(content, is_item=is_item)
        elif PAGE_BREAK in text:
            self.lines.append(PAGE_BREAK)
        self.lines += [f"[^{number}]: {self._notes[kind].get(number, '')}" for kind, number in found.notes]
        for box in found.boxes:
            self._blocks(box)
        drawn = (drawings.framed(self.package, self._main, frame) for frame in found.frames)
        self.lines += [text for text in drawn if text]

    def _add(self, text: str, *, is_item: bool) -> None:
        """Items of a list follow each other without a blank line: they are one block."""
        if is_item and self.lines and self.lines[-1] is self._list:
            self.lines[-1] = self._list = f"{self._list}\n{text}"
        else:
            self.lines.append(text)
            self._list = text if is_item else None

    def _formatted(self, paragraph: Element, text: str) -> tuple[str, bool]:
        """And whether it is an item of a list."""
        properties = child(paragraph, "pPr")
        style = self._styles.get(value_of(properties, "pStyle") or "", _Style())
        outline = value_of(properties, "outlineLvl")
        level = int(outline) + 1 if outline is not None and outline.isdigit() else style.level
        label = self._label(properties, style)
        if level is not None and level <= 9:  # level 9 is "body text" in an outline
            words = " ".join(text.replace(PAGE_BREAK, "").split())
            breaks = PAGE_BREAK * text.count(PAGE_BREAK)
            number = f"{label} " if label and label != "-" else ""
            return f"{breaks}{'#' * min(level, DEEPEST_HEADING)} {number}{words}", False
        if label is not None:
            return f"{label} {text}", True
        return ("\\" + text if _LOOKS_LIKE_MARKDOWN.match(text) else text), False

    def _label(self, properties: Element | None, style: _Style) -> str | None:
        own = child(properties, "numPr")
        if own is None:
            return self._numbering.label(*style.number) if style.number else None
        number = value_of(own, "numId") or (style.number[0] if style.number else "0")
        return self._numbering.label(number, int(value_of(own, "ilvl") or 0))

    def _table(self, table: Element) -> None:
        rows = [list(self._cells(row)) for row in _rows(table)]
        if len(rows) == 1 and len(rows[0]) == 1:  # a frame around paragraphs
            for cell in table.iter("{*}tc"):
                self._blocks(cell)
                return
        _repeat_merged(rows)
        lines = markdown_table([[text for text, _ in row] for row in rows]).split("\n")
        for number, row in enumerate(_rows(table)):
            if self._inline.laid_out and next(row.iter("{*}lastRenderedPageBreak"), None) is not None:
                at = number + (number > 0)  # below the first row stands the line that makes it the header
                lines[at] = PAGE_BREAK + lines[at]
        self.lines.append("\n".join(lines))

    def _cells(self, row: Element) -> Iterator[tuple[str, bool]]:
        """Text and whether it only continues the cell above."""
        for cell in _through(row, "tc"):
            properties = child(cell, "tcPr")
            merge = child(properties, "vMerge")
            goes_on = merge is not None and attribute(merge, "val") != "restart"
            text = self._cell_text(cell)
            for _ in range(int(value_of(properties, "gridSpan") or 1)):
                yield text, goes_on

    def _cell_text(self, cell: Element) -> str:
        inner = _Document.__new__(_Document)
        inner.__dict__.update(self.__dict__, lines=[])
        inner._blocks(cell)  # noqa: SLF001  one of its own kind
        return " ".join(" ".join(inner.lines).split())

    def _notes_of(self, kind: str) -> dict[str, str]:
        root = self.package.part(self._related.get(kind))
        notes = (note for note in root if attribute(note, "type") in {None, "normal"}) if root is not None else ()
        return {attribute(note, "id") or "": _plain(note) for note in notes}

    def _comments(self) -> list[str]:
        root = self.package.part(self._related.get("comments"))
        found = ((attribute(c, "author"), _plain(c)) for c in children(root, "comment"))
        return [f"- {author}: {text}" if author else f"- {text}" for author, text in found if text]

    def _margins(self) -> list[str]:
        parts = [*self.package.related(self._main, "header"), *self.package.related(self._main, "footer")]
        said = (_plain(root) for name in parts if (root := self.package.part(name)) is not None)
        return [f"- {text}" for text in dict.fromkeys(said) if not _ONLY_A_PAGE_NUMBER.fullmatch(text)]


_SKIPPED = {"pPr", "tblPr", "sdtPr", "sdtEndPr", "sectPr", "del", "moveFrom", "tcPr", "Fallback"}


def _plain(element: Element) -> str:
    inline = Inline()
    paragraphs = (inline.read(p).text for p in element.iter("{*}p"))
    return " ".join(" ".join(paragraphs).replace(PAGE_BREAK, " ").split())


def _through(element: Element, wanted: str) -> Iterator[Element]:
    """Children of that name, also those inside content controls."""
    for below in element:
        name = name_of(below)
        if name == wanted:
            yield below
        elif name in {"sdt", "sdtContent", "customXml", "ins"}:
            yield from _through(below, wanted)


def _rows(table: Element) -> Iterator[Element]:
    return (row for row in _through(table, "tr") if child(row, "trPr", "del") is None)


def _repeat_merged(rows: list[list[tuple[str, bool]]]) -> None:
    for number, row in enumerate(rows):
        above = rows[number - 1] if number else []
        for column, (text, goes_on) in enumerate(row):
            if goes_on and not text and column < len(above):
                row[column] = above[column]


def _styles(root: Element | None) -> dict[str, _Style]:
    found = {attribute(style, "styleId") or "": style for style in children(root, "style")}
    return {name: _style(style, found, depth=0) for name, style in found.items()}


def _style(style: Element, found: dict[str, Element], *, depth: int) -> _Style:
    base = found.get(value_of(style, "basedOn") or "")
    known = _style(base, found, depth=depth + 1) if base is not None and depth < 20 else _Style()
    name = (value_of(style, "name") or "").lower()
    heading = _HEADING_STYLE.match(name)
    outline = value_of(style, "pPr", "outlineLvl")
    level = int(heading.group(1)) if heading else 1 if name == "title" else known.level
    if outline is not None and outline.isdigit():
        level = int(outline) + 1
    number = value_of(style, "pPr", "numPr", "numId")
    depth_in_list = int(value_of(style, "pPr", "numPr", "ilvl") or 0)
    return _Style(level, (number, depth_in_list) if number else known.number)
