"""Pages of a text that is stored as UTF-8; pure."""

from __future__ import annotations

import codecs
from dataclasses import dataclass

BYTES_PER_CHARACTER = 4
"""At most, in UTF-8."""
_BROKEN_TAIL = 0.25
"""A page ends at a line's end where one lies within this share of its length from the end."""


@dataclass(frozen=True, slots=True)
class Page:
    """``text`` is what lies from ``start`` up to, not including, ``end``."""

    text: str
    start: int
    end: int


def bytes_for(characters: int) -> int:
    """How many bytes surely hold so many characters, the broken ones at both ends included."""
    return (characters + 2) * BYTES_PER_CHARACTER


def page_of(data: bytes, *, offset: int, total: int, characters: int) -> Page:
    """The first ``characters`` of ``data``, which lies at ``offset`` of a text of ``total`` bytes.

    An offset within a character means the next one.
    """
    skipped = next((at for at, byte in enumerate(data) if byte & 0xC0 != 0x80), len(data))
    whole = offset + len(data) >= total
    text = codecs.getincrementaldecoder("utf-8")("replace").decode(data[skipped:], final=whole)
    if len(text) > characters or not whole:
        text = _to_line_end(text[:characters])
    start = offset + skipped
    return Page(text, start, start + len(text.encode()))


def _to_line_end(text: str) -> str:
    end = text.rfind("\n") + 1
    return text[:end] if end > len(text) * (1 - _BROKEN_TAIL) else text
