"""PDF documents: two readers, each where it is right, and text recognition where neither finds letters."""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from aperag_indexer.adapters import extraction, pdfium
from aperag_indexer.reading.bounds import check_pages
from aperag_indexer.reading.glyphs import RIGHT_TO_LEFT, UNMAPPED, has_columns, text_of
from aperag_indexer.reading.layout import breaks_identifier, unwrap
from aperag_retrieval.chunking import ReadWarning
from aperag_retrieval.vocabulary import is_garbled, ligature_in

if TYPE_CHECKING:
    from pathlib import Path

    from aperag_indexer.reading.glyphs import Sheet

KEPT = 0.99
"""Share of a page's letters that structure may cost: running heads are left out on purpose, rows are not."""
_MOST_UNREADABLE = 0.3
_NO_LETTER = re.compile("[\x00\x01\x03-\x08\x0b\x0e-\x1f\ue000-\uf8ff\ufffd]|\x02(?!\r?\n)")
_MARK = re.compile(f"[{chr(UNMAPPED)}-{chr(UNMAPPED + 255)}]")
_MARKED_WORD = re.compile(f"[\\w{chr(UNMAPPED)}-{chr(UNMAPPED + 255)}]+")
_UNREADABLE = re.compile("[\x00-\x08\x0b\x0e-\x1f\ue000-\uf8ff\ufffd]")


@dataclass
class Print:
    """``scans`` are pages that show something and hold no usable letters."""

    pages: dict[int, str]
    title: str | None
    scans: list[int] = field(default_factory=list)
    warnings: list[ReadWarning] = field(default_factory=list)


def read_print(path: Path) -> Print:
    check_pages(pdfium.page_count(path))  # before anything walks them: one page may stand in the tree a million times
    structured = extraction.printed(path)
    found = Print({}, structured.title)
    with pdfium.opened(path) as document:
        for sheet in pdfium.sheets(document):
            text = structured.pages.get(sheet.number, "")
            found.pages[sheet.number] = text if _is_right(sheet, text) else _own(sheet)
            if not sheet.plain.strip() and not sheet.widgets and sheet.has_pictures:
                found.scans.append(sheet.number)
    _name_ligatures(found)
    for number, text in found.pages.items():
        if _is_unreadable(text):
            found.scans.append(number)
            found.pages[number] = ""
            message = "its font does not say which letters it prints"
            found.warnings.append(ReadWarning("unusable_font", f"page {number + 1}", message))
        elif "\ufffd" in text:
            message = "some signs of a font are not known; they stand as \ufffd"
            found.warnings.append(ReadWarning("unknown_signs", f"page {number + 1}", message))
    found.pages = {number: text for number, text in found.pages.items() if any(map(str.isalnum, text))}
    return found


def _is_right(sheet: Sheet, text: str) -> bool:
    """Whether the structured text of a page holds what is printed there, in the order in which it is read."""
    if not sheet.upright or sheet.widgets or has_columns(sheet.runs):
        return False
    if _NO_LETTER.search(sheet.plain) or RIGHT_TO_LEFT.search(sheet.plain) or breaks_identifier(sheet.plain):
        return False
    printed, kept = _letters(sheet.plain), _letters(text)
    return (printed - kept).total() <= (1 - KEPT) * printed.total()


def _letters(text: str) -> Counter[str]:
    return Counter(filter(str.isalnum, text))


def _own(sheet: Sheet) -> str:
    blocks = text_of(sheet).split("\n\n")
    return "\n\n".join(block if block.startswith("# ") else unwrap(block) for block in blocks if block.strip())


def _name_ligatures(found: Print) -> None:
    """Signs without a letter are mostly ligatures: the one that makes words of all the words it stands in."""
    words = [word for text in found.pages.values() for word in _MARKED_WORD.findall(text) if _MARK.search(word)]
    letters: dict[str, str] = {}
    for mark in dict.fromkeys(sign for word in words for sign in _MARK.findall(word)):
        alone = [word for word in words if set(_MARK.findall(word)) == {mark}]
        letters[mark] = ligature_in(alone, mark) or "\ufffd"
    for number, text in found.pages.items() if letters else ():
        found.pages[number] = _MARK.sub(lambda sign: letters.get(sign.group(), "\ufffd"), text)


def _is_unreadable(text: str) -> bool:
    shown = sum(not character.isspace() for character in text)
    return shown > 0 and (len(_UNREADABLE.findall(text)) > _MOST_UNREADABLE * shown or is_garbled(text))
