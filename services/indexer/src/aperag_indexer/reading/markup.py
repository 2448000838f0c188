"""HTML made ready for its reader: what that one drops, blurs or cannot lay out is rewritten before."""

from __future__ import annotations

import copy
import re
from typing import TYPE_CHECKING, Any

from lxml import html
from lxml.etree import ParserError

from aperag_indexer.reading.ooxml.inline import scripted

if TYPE_CHECKING:
    from collections.abc import Iterator

Element = Any

MOST_SPANNED = 1000
"""Cells that one cell may fill; pages exist that ask for 65,534 rows."""
LONGEST_VALUE = 100
"""Of a field; longer ones are filled by programs."""
_PROGRAMS = ("script", "style", "template", "noscript", "iframe", "svg", "object", "head", "rp")
_TAGS = (
    "a|abbr|address|article|aside|b|blockquote|body|br|caption|center|cite|code|col|colgroup|dd|del|details|div|dl|dt|em|"
    "figcaption|figure|font|footer|form|h[1-6]|head|header|hr|html|i|iframe|img|input|ins|kbd|label|li|link|main|mark|meta|"
    "nav|ol|option|p|pre|q|s|samp|script|section|select|small|span|strike|strong|style|sub|summary|sup|table|tbody|td|"
    "textarea|tfoot|th|thead|title|tr|tt|u|ul|var|video"
)
_TAG = re.compile(
    rf"""</?(?:{_TAGS})(?:\s+[\w:.-]+(?:\s*=\s*(?:"[^"]*"|'[^']*'|[^\s"'>]+))?)*\s*/?>|<!--""", re.IGNORECASE
)
_LESS = re.compile("<")
_HOLDERS = ("src", "href", "srcset", "poster", "data")


def readable(text: str) -> str:
    """The page's body: tables without spans, raised signs marked, asides as text, no data addresses, no navigation."""
    root = _parsed(text)
    if root is None:
        return ""
    for element in list(root.iter(*_PROGRAMS, "nav")):
        _drop(element)
    for element in list(root.iter()):
        if isinstance(element.tag, str):
            _rewrite(element)
        elif element is not root:
            _drop(element)
    for table in list(root.iter("table")):
        if next(table.iterdescendants("table"), None) is not None:
            _unframe(table)
    for table in root.iter("table"):
        _fill(table)
    written: str = html.tostring(root, encoding="unicode")
    return written


def looks_like_html(text: str) -> bool:
    """Whether tags stand in it, not only signs of comparison."""
    return _TAG.search(text) is not None


def guarded(text: str) -> str:
    """Text with some HTML in it, as feeds and records carry it: a sign that begins no tag is no tag."""
    return _LESS.sub(lambda found: "<" if _TAG.match(text, found.start()) else "&lt;", text)


def _parsed(text: str) -> Element | None:
    parser = html.HTMLParser(huge_tree=True, encoding="utf-8", remove_comments=True, remove_pis=True)
    try:
        return html.document_fromstring(text.encode("utf-8", errors="replace"), parser)
    except ParserError:  # nothing but white space
        return None


def _rewrite(element: Element) -> None:
    for name in _HOLDERS:
        if (element.get(name) or "").lstrip().startswith("data:"):
            del element.attrib[name]
    tag = element.tag
    if element.get("role") == "navigation":
        _drop(element)
    elif tag in {"aside", "footer", "header"}:
        element.tag = "div"
        element.attrib.clear()
    elif tag in {"sup", "sub"}:
        _replace(element, scripted(_before(element), element.text_content(), tag))
    elif tag == "rt":
        _replace(element, f"({element.text_content()})")
    elif tag == "math":
        tex = next((a.text for a in element.iter("annotation") if "tex" in (a.get("encoding") or "")), None)
        _replace(element, element.get("alttext") or tex or element.text_content())
    elif tag == "input" and element.get("type", "text") in {"text", "number", "date", "email", "tel", "url", "search"}:
        value = element.get("value") or ""
        _replace(element, value if len(value) <= LONGEST_VALUE else "")
    else:
        for name in ("class", "id"):  # the reader takes "menu" or "banner" for what they often, not always, name
            element.attrib.pop(name, None)


def _before(element: Element) -> str:
    """The last letter in front of an element."""
    previous = element.getprevious()
    text = element.getparent().text if previous is None else previous.tail or previous.text_content()
    return (text or "")[-1:]


def _replace(element: Element, text: str) -> None:
    tail = element.tail or ""
    element.tail = f"{text}{tail}"
    _drop(element)


def _drop(element: Element) -> None:
    """Its tail stays."""
    parent = element.getparent()
    if parent is None:
        return
    if element.tail:
        previous = element.getprevious()
        if previous is None:
            parent.text = (parent.text or "") + element.tail
        else:
            previous.tail = (previous.tail or "") + element.tail
    parent.remove(element)


def _unframe(table: Element) -> None:
    """A table around tables lays out a page: its cells are paragraphs."""
    parts = table.iter("tbody", "thead", "tfoot", "tr", "td", "th")
    for part in [*(p for p in parts if next(p.iterancestors("table"), None) is table), table]:
        part.tag = "div"
        part.attrib.clear()


def _fill(table: Element) -> None:
    """Cells that span rows or columns stand in each of them."""
    waiting: dict[int, tuple[int, Element]] = {}
    for row in _rows(table):
        cells = [cell for cell in row if cell.tag in {"td", "th"}]
        for cell in cells:
            row.remove(cell)
        column = 0
        for cell in cells:
            column = _put_waiting(row, column, waiting)
            wide, high = _span(cell, "colspan"), _span(cell, "rowspan")
            for place in range(wide):
                row.append(cell if place == 0 else _copy(cell))
                if high > 1:
                    waiting[column + place] = (high - 1, cell)
            column += wide
        _put_waiting(row, column, waiting)


def _put_waiting(row: Element, column: int, waiting: dict[int, tuple[int, Element]]) -> int:
    while column in waiting:
        left, cell = waiting.pop(column)
        if left > 1:
            waiting[column] = (left - 1, cell)
        row.append(_copy(cell))
        column += 1
    return column


def _rows(table: Element) -> Iterator[Element]:
    return (row for row in table.iter("tr") if next(row.iterancestors("table"), None) is table)


def _span(cell: Element, name: str) -> int:
    value = cell.attrib.pop(name, "1").strip()
    return max(1, min(int(value), MOST_SPANNED)) if value.isascii() and value.isdigit() else 1


def _copy(cell: Element) -> Element:
    again = copy.deepcopy(cell)
    again.tail = None
    return again
