"""What stands in the drawings of Office documents: shapes, tables, charts and diagrams, as Markdown."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from aperag_indexer.reading.ooxml.equations import linear
from aperag_indexer.reading.ooxml.formats import GENERAL
from aperag_indexer.reading.ooxml.inline import scripted
from aperag_indexer.reading.ooxml.numbers import shown
from aperag_indexer.reading.ooxml.package import attribute, child, children, name_of
from aperag_indexer.reading.tables import markdown_table

if TYPE_CHECKING:
    from collections.abc import Iterator

    from aperag_indexer.reading.ooxml.package import Element, Package

_LEGACY_EXTENSION = re.compile(r"\.(png|jpe?g|gif|emf|wmf|bmp|tiff?|svg)$", re.IGNORECASE)


def paragraphs(body: Element) -> list[str]:
    """Of a text body, also of one inside a table's cell."""
    found = (_line(p) for p in body.iter() if name_of(p) == "p")
    return [line for line in found if line.strip()]


def table(element: Element) -> str:
    """Merged cells repeat their value."""
    rows: list[list[str]] = []
    for row in children(element, "tr"):
        cells: list[str] = []
        for column, cell in enumerate(children(row, "tc")):
            text = " ".join(paragraphs(cell))
            if attribute(cell, "hMerge") in {"1", "true"} and cells:
                text = cells[-1]
            elif attribute(cell, "vMerge") in {"1", "true"} and rows and column < len(rows[-1]):
                text = rows[-1][column]
            cells.append(text)
        rows.append(cells)
    return markdown_table(rows) if rows else ""


def chart(root: Element | None) -> str:
    """Title and values; a row per category, a column per series."""
    if root is None:
        return ""
    title = " ".join(" ".join(paragraphs(t)) for t in root.iter("{*}title"))
    series = list(root.iter("{*}ser"))
    names = [_cached(child(one, "tx")).get(0, f"Series {n}") for n, one in enumerate(series, 1)]
    categories: dict[int, str] = {}
    columns: list[dict[int, str]] = []
    for one in series:
        categories |= _cached(_first(one, "cat", "xVal"))
        columns.append(_cached(_first(one, "val", "yVal")))
    places = sorted({place for column in columns for place in column})
    rows = [[categories.get(p, str(p + 1)), *(column.get(p, "") for column in columns)] for p in places]
    if not rows:  # charts of newer kinds keep their data in another form
        words = [e.text for e in root.iter() if name_of(e) in {"pt", "v"} and e.text and e.text.strip()]
        return "\n\n".join(part for part in (title, ", ".join(words)) if part)
    return "\n\n".join(part for part in (title, markdown_table([["", *names], *rows])) if part)


def drawn(package: Package, part: str, element: Element) -> str:
    """A frame: a table, a chart or a diagram."""
    for inside in element.iter():
        if name_of(inside) == "tbl":
            return table(inside)
        if text := framed(package, part, inside):
            return text
    return ""


def framed(package: Package, part: str, element: Element) -> str:
    """A chart or a diagram that an element refers to; else empty."""
    data = {"chart": "id", "relIds": "dm"}.get(name_of(element))
    relation = package.relations(part).get(attribute(element, data) or "") if data else None
    if relation is None:
        return ""
    root = package.part(relation.target)
    return chart(root) if name_of(element) == "chart" else _diagram(root)


def description(shape: Element) -> str:
    """What an author wrote about a picture."""
    for properties in shape.iter():
        if name_of(properties) == "cNvPr":
            words = (attribute(properties, "descr") or "").strip()
            return "" if _LEGACY_EXTENSION.search(words) else words
    return ""


def _diagram(root: Element | None) -> str:
    if root is None:
        return ""
    return "\n".join(line for point in root.iter("{*}t") for line in paragraphs(point))


def _line(paragraph: Element) -> str:
    parts: list[str] = []
    for run in _runs(paragraph):
        name = name_of(run)
        if name == "br":
            parts.append("\n")
        elif name == "oMath":
            parts.append(linear(run))
        else:
            text = "".join(t.text or "" for t in children(run, "t"))
            baseline = int(attribute(child(run, "rPr"), "baseline") or 0)
            if baseline and text:
                text = scripted("".join(parts)[-1:], text, "superscript" if baseline > 0 else "subscript")
            parts.append(text)
    return "".join(parts).replace("\v", "\n")


def _runs(element: Element) -> Iterator[Element]:
    for below in element:
        name = name_of(below)
        if name in {"r", "br", "fld", "oMath"}:
            yield below
        elif name not in {"Fallback", "pPr"}:
            yield from _runs(below)


def _first(series: Element, *names: str) -> Element | None:
    return next((found for name in names if (found := child(series, name)) is not None), None)


def _cached(element: Element | None) -> dict[int, str]:
    """The values that the chart was last drawn with, by their place."""
    if element is None:
        return {}
    code = next((e.text for e in element.iter("{*}formatCode")), None) or GENERAL
    found: dict[int, str] = {}
    for point in element.iter("{*}pt"):
        value = child(point, "v")
        text = (value.text if value is not None else None) or ""
        place = int(attribute(point, "idx") or 0)
        is_number = name_of(point.getparent()) == "numCache"
        written = shown(text, attribute(point, "formatCode") or code) if is_number else text
        found[place] = f"{written} {found[place]}" if place in found else written  # categories of several levels
    if not found:
        direct = next((e.text for e in element.iter("{*}v") if e.text), None)
        return {0: direct} if direct else {}
    return found
