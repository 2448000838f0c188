"""Whether what was read is what the document holds, and whether it is text at all."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Iterator
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_indexer.reading.ooxml.package import Package, name_of, opened
from aperag_retrieval.chunking import ReadWarning

if TYPE_CHECKING:
    from pathlib import Path

_MOST_SENSELESS = 0.1
_SENSELESS = re.compile("[\x80-\x9f\ue000-\uf8ff\ufffd\U000f0000-\U0010ffff]")
# Parts whose text a reader shows, by suffix; the rest of a package is form.
_SPOKEN = {
    ".docx": re.compile(r"(?<!glossary/)(?:document\d*|footnotes|endnotes|comments)\.xml$", re.IGNORECASE),
    ".pptx": re.compile(r"slides/slide\d+\.xml$", re.IGNORECASE),
    ".xlsx": re.compile(r"sharedStrings\.xml$", re.IGNORECASE),
}
_UNSPOKEN = {"del", "moveFrom", "Fallback", "instrText", "delText", "rPh"}
_ESCAPED = re.compile("_x[0-9A-Fa-f]{4}_")
LEAST_LOST = 3
"""Fewer letters are numbers of slides and their like."""


def check_plausible(text: str) -> None:
    """Raises ``CorruptDocument`` where much of it is no letter of any alphabet."""
    shown = sum(not character.isspace() for character in text)
    senseless = len(_SENSELESS.findall(text))
    if senseless > _MOST_SENSELESS * shown:
        message = f"The document's text is unreadable: {100 * senseless // shown} % of its signs are no letters."
        raise errors.CorruptDocument(f"{message} Save it again, as UTF-8 if it is a text, and upload that.")


def lost_from(path: Path, suffix: str, markdown: str) -> Iterator[ReadWarning]:
    """Letters that stand in the parts of an Office document and not in what was read of it."""
    wanted = _SPOKEN.get(suffix)
    if wanted is None:
        return
    kept = _letters(markdown)
    with opened(path) as packed:
        package = Package(packed)
        for name in filter(wanted.search, package.names.values()):
            held = Counter[str]()
            for text in _texts(package.part(name)):
                held += _letters(_ESCAPED.sub("", text))
            lost = (held - kept).total()
            if lost > LEAST_LOST:
                yield ReadWarning("text_lost", name, f"{lost} of {held.total()} letters of this part were not read")


def _texts(root: object) -> Iterator[str]:
    waiting = [root] if root is not None else []
    while waiting:
        element = waiting.pop()
        if name_of(element) in _UNSPOKEN:
            continue
        if name_of(element) == "t" and element.text:  # type: ignore[attr-defined]  # an lxml element
            yield element.text  # type: ignore[attr-defined]
        waiting += list(element)  # type: ignore[call-overload]


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, unicodedata.normalize("NFC", text)))
