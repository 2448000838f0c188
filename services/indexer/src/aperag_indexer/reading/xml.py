"""XML into records, without the parts of XML that are used to attack readers."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from xml.parsers import expat

from aperag_common import errors
from aperag_indexer.reading.records import DEEPEST, Record, too_deep

GROWTH = 20
"""Entities may make a document this many times longer; more is a bomb."""
GROWTH_COUNTS_FROM = 1_000_000
_DECLARATION = re.compile(r"\A\s*<\?xml[^>]*\?>")


def read_xml(text: str) -> Record:
    """Attributes are leaves like elements; text between elements is joined into one paragraph.

    Entities that name another document are left out: nothing is fetched or opened. Raises ``CorruptDocument``.
    """
    builder = _Builder(GROWTH * len(text) + GROWTH_COUNTS_FROM)
    parser = expat.ParserCreate()
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.data
    try:
        # Characters, not bytes: the encoding was found before, and expat knows only four.
        parser.Parse(_DECLARATION.sub("", text, count=1), True)
    except expat.ExpatError as err:
        what = expat.ErrorString(err.code)
        message = f"The document is not valid XML: {what} in line {err.lineno}. Mend it and upload it again."
        raise errors.CorruptDocument(message) from None
    return builder.root()


@dataclass(slots=True)
class _Element:
    """An element that is still open: what was read of it, in order."""

    name: str
    attributes: list[Record] = field(default_factory=list)
    content: list[str | Record] = field(default_factory=list)


class _Builder:
    def __init__(self, most: int) -> None:
        self._left = most
        self._open = [_Element("")]

    def start(self, name: str, attributes: dict[str, str]) -> None:
        if len(self._open) > DEEPEST:
            raise too_deep()
        kept = [Record(_local(key), value) for key, value in attributes.items() if not key.startswith("xml")]
        self._open.append(_Element(_local(name), kept))

    def data(self, text: str) -> None:
        self._left -= len(text)
        if self._left < 0:
            message = "The document is refused because its entities expand without end. Save it without a DTD."
            raise errors.CorruptDocument(message)
        self._open[-1].content.append(text)

    def end(self, _: str) -> None:
        closed = _record(self._open.pop())
        self._open[-1].content.append(closed)

    def root(self) -> Record:
        return next(part for part in self._open[0].content if isinstance(part, Record))


def _record(element: _Element) -> Record:
    children = [part for part in element.content if isinstance(part, Record)]
    words = "".join(part for part in element.content if isinstance(part, str)).strip()
    if not children and words:
        noted = "; ".join(f"{attribute.name}: {attribute.text}" for attribute in element.attributes)
        return Record(element.name, f"{words} ({noted})" if noted else words)
    if words and all(not child.children for child in children):  # words in a sentence, no records of their own
        return Record(element.name, "".join(p if isinstance(p, str) else p.text for p in element.content).strip())
    spoken = [Record("", words)] if words else []
    return Record(element.name, children=[*element.attributes, *spoken, *children])


def _local(name: str) -> str:
    return name.rpartition(":")[2]
