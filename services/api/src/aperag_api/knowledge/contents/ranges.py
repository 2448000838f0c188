"""HTTP ranges and file names in headers; pure."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import quote

_RANGE = re.compile(r"bytes=([0-9]{0,1000})-([0-9]{0,1000})\Z", re.IGNORECASE)
"""Python refuses to read numbers of several thousand digits; whoever sends them gets the whole object."""


@dataclass(frozen=True, slots=True)
class ByteRange:
    """From ``start`` up to, not including, ``end``."""

    start: int
    end: int

    def content_range(self, size: int) -> str:
        return f"bytes {self.start}-{self.end - 1}/{size}"


class RangeNotSatisfiable(Exception):
    """The range lies outside the object."""


def parse_range(header: str | None, size: int) -> ByteRange | None:
    """None where the whole object is the answer: no range, several ranges, or one that is no range at all."""
    match = _RANGE.match((header or "").replace(" ", ""))
    if match is None or match.groups() == ("", ""):
        return None
    first, last = match.groups()
    if not first:
        start, end = max(0, size - int(last)), size
    else:
        start, end = int(first), min(int(last) + 1, size) if last else size
        if last and int(last) < start:
            return None
    if start >= end:
        raise RangeNotSatisfiable
    return ByteRange(start, end)


def content_disposition(name: str, *, inline: bool = False) -> str:
    """RFC 6266: a plain name for old clients and the exact one as UTF-8; neither can break out of the header."""
    plain = "".join(c if c.isascii() and c.isprintable() and c not in '"\\%' else "_" for c in name)
    kind = "inline" if inline else "attachment"
    return f"{kind}; filename=\"{plain}\"; filename*=UTF-8''{quote(name, safe='')}"
