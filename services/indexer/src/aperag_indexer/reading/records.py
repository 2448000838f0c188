"""JSON and XML as Markdown: what carries a title becomes a section, everything else lines of "name: value"."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_common import errors
from aperag_indexer.reading.markup import looks_like_html

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

TITLES = ("title", "name", "label", "headline", "subject")
LONGEST_TITLE = 200
DEEPEST_HEADING = 6
DEEPEST = 200
"""Levels of nesting; beyond it is an attack or a mistake, and no text."""
_PROSE = frozenset({"p", "para", "paragraph", "text"})


@dataclass(slots=True)
class Record:
    """``text`` is a leaf's own; a record with children has none."""

    name: str
    text: str = ""
    children: list[Record] = field(default_factory=list)


def read_json(text: str) -> Record:
    """Also reads one value per line, as logs and data sets are kept."""
    try:
        return _of_value("", _loads(text), 0)
    except json.JSONDecodeError as err:
        if "\n" in text.strip() and err.msg == "Extra data":
            return _of_value("", _lines(text), 0)
        message = f"The document is not valid JSON: {err.msg} in line {err.lineno}. Mend it and upload it again."
        raise errors.CorruptDocument(message) from None


def too_deep() -> errors.CorruptDocument:
    message = f"The document is nested more than {DEEPEST} levels deep. Flatten it and upload it again."
    return errors.CorruptDocument(message)


def render(root: Record, *, html: Callable[[str], str]) -> str:
    """``html`` turns text with HTML tags, as feeds carry it, into Markdown."""
    lines: list[str] = []
    _section(Record("", root.text, root.children), 1, lines, html)
    return "\n".join(lines).strip("\n") + "\n"


def _loads(text: str) -> Any:
    try:
        return json.loads(text, parse_float=str, parse_int=str, parse_constant=str, object_pairs_hook=_Fields)
    except RecursionError:
        raise too_deep() from None


class _Fields(list[tuple[str, Any]]):
    """An object's fields in their order; a name may stand twice."""


def _lines(text: str) -> list[Any]:
    try:
        return [_loads(line) for line in text.splitlines() if line.strip()]
    except json.JSONDecodeError:
        message = "The document is not valid JSON: it holds more than one value. Mend it and upload it again."
        raise errors.CorruptDocument(message) from None


def _of_value(name: str, value: Any, depth: int) -> Record:
    if depth > DEEPEST:
        raise too_deep()
    if isinstance(value, _Fields):
        return Record(name, children=[_of_value(key, below, depth + 1) for key, below in value])
    if isinstance(value, list):
        if all(not isinstance(below, list) for below in value):
            return Record(name, ", ".join(_scalar(below) for below in value))
        return Record(name, children=[_of_value("", below, depth + 1) for below in value])
    return Record(name, _scalar(value))


def _scalar(value: Any) -> str:
    if value is None:
        return ""
    return value if isinstance(value, str) else json.dumps(value)


def _section(record: Record, level: int, lines: list[str], html: Callable[[str], str]) -> None:
    title = _title_of(record)
    if title is not None:
        lines += ["", f"{'#' * min(level, DEEPEST_HEADING)} {title.text.strip()}", ""]
    elif record.name:
        lines += ["", f"{record.name}:"]
    elif record.children:
        lines.append("")
    if not record.children:
        lines += _leaf(record, level, html)
    for below in record.children:  # before any section of its own, whose heading they would fall under
        if not below.children and below is not title:
            lines += _leaf(below, level, html)
    for below in record.children:
        if below.children:
            _section(below, level + (title is not None), lines, html)


def _title_of(record: Record) -> Record | None:
    leaves = {below.name.lower(): below for below in reversed(record.children) if not below.children}
    titles = (leaves[name] for name in TITLES if name in leaves)
    return next((t for t in titles if t.text.strip() and len(t.text) <= LONGEST_TITLE and "\n" not in t.text), None)


def _leaf(record: Record, level: int, html: Callable[[str], str]) -> Iterator[str]:
    text = record.text.strip()
    if not text:
        return
    if looks_like_html(text):
        yield from ("", _below(html(text), level), "")
    elif record.name.lower() in _PROSE or not record.name:
        yield from ("", text, "")
    elif "\n" in text:
        yield from ("", f"{record.name}:", "", text, "")
    else:
        yield f"{record.name}: {text}"


def _below(markdown: str, level: int) -> str:
    """Its headings under the one it belongs to."""
    return "\n".join(
        "#" * min(level, DEEPEST_HEADING - 1) + line if line.startswith("#") else line for line in markdown.split("\n")
    )
