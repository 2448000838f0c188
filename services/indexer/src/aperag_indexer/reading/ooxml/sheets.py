"""Workbooks as Markdown: a section per sheet, cells as a spreadsheet shows them, titles above the table they belong to."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aperag_indexer.reading.bounds import check_cells
from aperag_indexer.reading.ooxml import drawings
from aperag_indexer.reading.ooxml.formats import BUILT_IN, GENERAL
from aperag_indexer.reading.ooxml.numbers import shown
from aperag_indexer.reading.ooxml.package import Package, attribute, child, children, name_of, opened, value_of
from aperag_indexer.reading.tables import markdown_table, titled
from aperag_retrieval.chunking import ReadWarning

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from aperag_indexer.reading.ooxml.package import Element

MOST_REPEATED = 2000
"""Cells that a merge may fill: a frame around a whole sheet repeats no title a million times."""
_REFERENCE = re.compile(r"([A-Z]{1,3})(\d+)")
_ESCAPED = re.compile(r"_x([0-9A-Fa-f]{4})_")
_HIDDEN = {"hidden": " (hidden)", "veryHidden": " (hidden)"}


@dataclass
class Workbook:
    sections: list[str] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)


def read_workbook(path: Path) -> Workbook:
    with opened(path) as packed:
        return _Reader(Package(packed)).read()


class _Reader:
    def __init__(self, package: Package) -> None:
        self._package = package
        self._main = package.main or "xl/workbook.xml"
        self._relations = package.relations(self._main)
        book = package.part(self._main)
        self._book = book
        self._since_1904 = attribute(child(book, "workbookPr"), "date1904") in {"1", "true"}
        by_kind = {r.kind: r.target for r in self._relations.values()}
        self._strings = self._shared(by_kind.get("sharedStrings"))
        self._formats = _formats(package.part(by_kind.get("styles")))
        self._found = Workbook()

    def read(self) -> Workbook:
        for sheet in children(child(self._book, "sheets"), "sheet"):
            title = f"{attribute(sheet, 'name')}{_HIDDEN.get(attribute(sheet, 'state') or '', '')}"
            relation = self._relations.get(attribute(sheet, "id") or "")
            if relation is None or not self._package.has(relation.target):
                continue
            if relation.kind == "worksheet":
                self._sheet(title, relation.target)
            else:
                self._found.warnings.append(ReadWarning("unread_part", title, f"a {relation.kind} is not read"))
        return self._found

    def _sheet(self, title: str, part: str) -> None:
        grid = _Grid()
        uncomputed = 0
        for element in self._package.elements(part, ("c", "mergeCell")):
            if name_of(element) == "mergeCell":
                grid.merge(attribute(element, "ref") or "")
                continue
            text = self._text(element)
            uncomputed += text is None
            grid.put(attribute(element, "r"), element.getparent(), text or "")
        notes = [*self._notes(part), *self._drawings(part)]
        if grid.cells or notes:
            self._found.sections.append(_section(title, grid.rows(), notes))
        if uncomputed:
            message = f"{uncomputed} formulas have no computed value: open the workbook and save it again"
            self._found.warnings.append(ReadWarning("formula_without_value", title, message))

    def _text(self, cell: Element) -> str | None:
        """None for a formula whose value nobody computed."""
        kind = cell.get("t", "n")
        if kind == "inlineStr":
            return _rich(child(cell, "is"))
        found = child(cell, "v")
        value = (found.text if found is not None else None) or ""
        if not value:
            return None if child(cell, "f") is not None and kind != "str" else ""
        if kind == "s":
            return self._strings[int(value)] if int(value) < len(self._strings) else ""
        return self._value(kind, value, int(cell.get("s") or 0))

    def _value(self, kind: str, value: str, style: int) -> str:
        if kind == "b":
            return "TRUE" if value == "1" else "FALSE"
        if kind == "d":
            return value.replace("T", " ").removesuffix(" 00:00:00")
        if kind != "n":
            return _unescaped(value)
        code = self._formats[style] if style < len(self._formats) else GENERAL
        return shown(value, code, since_1904=self._since_1904)

    def _shared(self, part: str | None) -> list[str]:
        if part is None or not self._package.has(part):
            return []
        return [_rich(item) for item in self._package.elements(part, ("si",))]

    def _notes(self, part: str) -> list[str]:
        """What people noted on cells, and what their shapes and charts say."""
        lines: list[str] = []
        for relation in self._package.relations(part).values():
            if relation.kind not in {"comments", "threadedComment"} or not self._package.has(relation.target):
                continue
            root = self._package.part(relation.target)
            for comment in (e for e in _within(root) if name_of(e) in {"comment", "threadedComment"}):
                text = " ".join("".join(e.text or "" for e in comment.iter() if name_of(e) in {"t", "text"}).split())
                if text and "[Threaded comment]" not in text:
                    lines.append(f"- {attribute(comment, 'ref')}: {text}")
        return ["\n".join(lines)] if lines else []

    def _drawings(self, part: str) -> list[str]:
        """What shapes and charts on the sheet say."""
        blocks: list[str] = []
        for name in self._package.related(part, "drawing"):
            root = self._package.part(name)
            for shape in (e for e in _within(root) if name_of(e) in {"sp", "pic", "graphicFrame"}):
                if name_of(shape) == "graphicFrame":
                    blocks.append(drawings.drawn(self._package, name, shape))
                elif name_of(shape) == "pic":
                    blocks.append(drawings.description(shape))
                else:
                    body = child(shape, "txBody")
                    blocks.append("\n".join(drawings.paragraphs(body)) if body is not None else "")
        return [block for block in blocks if block.strip()]


class _Grid:
    """The cells of a sheet that hold something, by row and column from 1."""

    def __init__(self) -> None:
        self.cells: dict[tuple[int, int], str] = {}
        self._merges: list[tuple[int, int, int, int]] = []
        self._at = (0, 0)

    def put(self, reference: str | None, row: Element, text: str) -> None:
        """Cells without a reference follow the one before."""
        found = _REFERENCE.fullmatch(reference or "")
        if found:
            self._at = (int(found.group(2)), _column(found.group(1)))
        else:
            number = int((row.get("r") if row is not None else None) or self._at[0] or 1)
            self._at = (number, self._at[1] + 1 if number == self._at[0] else 1)
        if text.strip():
            self.cells[self._at] = text
        check_cells(len(self.cells))

    def merge(self, reference: str) -> None:
        first, _, last = reference.partition(":")
        a, b = _REFERENCE.fullmatch(first), _REFERENCE.fullmatch(last)
        if a and b:
            self._merges.append((int(a.group(2)), _column(a.group(1)), int(b.group(2)), _column(b.group(1))))

    def rows(self) -> list[list[str]]:
        """Without empty rows and columns around; merged cells repeat their value downwards."""
        left = MOST_REPEATED
        for top, column, bottom, _ in self._merges:
            text = self.cells.get((top, column))
            for row in range(top + 1, bottom + 1 if text else top):
                left -= 1
                if left > 0:
                    self.cells.setdefault((row, column), text or "")
        by_row: dict[int, dict[int, str]] = {}
        for (row, column), text in self.cells.items():
            by_row.setdefault(row, {})[column] = text
        used = sorted({column for _, column in self.cells})
        check_cells(len(by_row) * len(used))
        return [[by_row[row].get(column, "") for column in used] for row in sorted(by_row)]


def _within(root: Element | None) -> Iterator[Element]:
    return iter(()) if root is None else root.iter()


def _section(title: str, rows: list[list[str]], notes: list[str]) -> str:
    parts = [f"## {title}"]
    above, table = titled(rows)
    parts += above
    if table:
        parts.append(markdown_table(table))
    if notes:
        parts += notes
    return "\n\n".join(parts)


def _formats(styles: Element | None) -> list[str]:
    own = {
        int(attribute(f, "numFmtId") or 0): attribute(f, "formatCode") or GENERAL
        for f in children(child(styles, "numFmts"), "numFmt")
    }
    used = (int(attribute(xf, "numFmtId") or 0) for xf in children(child(styles, "cellXfs"), "xf"))
    return [own.get(number) or BUILT_IN.get(number, GENERAL) for number in used]


def _rich(item: Element | None) -> str:
    """Without what says how to read it aloud."""
    if item is None:
        return ""
    parts: list[str] = []
    for part in item:
        name = name_of(part)
        if name == "t":
            parts.append(part.text or "")
        elif name == "r":
            text = child(part, "t")
            raised = value_of(part, "rPr", "vertAlign") == "superscript" and "".join(parts)[-1:].isdigit()
            parts.append(("^" if raised else "") + ((text.text if text is not None else None) or ""))
    return _unescaped("".join(parts))


def _unescaped(text: str) -> str:
    return _ESCAPED.sub(lambda found: chr(int(found.group(1), 16)), text)


def _column(letters: str) -> int:
    number = 0
    for letter in letters:
        number = number * 26 + ord(letter) - ord("A") + 1
    return number
