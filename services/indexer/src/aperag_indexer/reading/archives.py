"""Documents that are zip archives, refused before they unfold into more than we are ready to hold."""

from __future__ import annotations

import zipfile
import zlib
from typing import TYPE_CHECKING, BinaryIO

from aperag_common import errors

if TYPE_CHECKING:
    from pathlib import Path

MOST_ENTRIES = 20_000
LARGEST_RATIO = 200
"""Office XML shrinks to a tenth, very uniform tables to a hundredth."""
RATIO_COUNTS_FROM = 32 * 1024 * 1024
_BLOCK = 1024 * 1024
_LOCAL_HEADER = 30


def check_unpacked(path: Path, *, largest: int) -> None:
    """Raises ``CorruptDocument`` if the archive unfolds to more than ``largest`` bytes, or lies about how much."""
    with zipfile.ZipFile(path) as packed, path.open("rb") as raw:
        entries = packed.infolist()
        total = sum(entry.file_size for entry in entries)
        if len(entries) > MOST_ENTRIES or total > largest:
            raise _bomb(f"it unpacks to {total // 1024**2} MB in {len(entries)} parts")
        if total > RATIO_COUNTS_FROM and total > LARGEST_RATIO * path.stat().st_size:
            raise _bomb(f"it unpacks to {total // path.stat().st_size} times its size")
        for entry in entries:
            if entry.compress_type == zipfile.ZIP_DEFLATED and not _honest(raw, entry):
                raise _bomb("one of its parts unpacks to more than it states")


def _honest(raw: BinaryIO, entry: zipfile.ZipInfo) -> bool:
    """Whether the part unfolds to no more than its entry says; readers allocate and stop by that number."""
    raw.seek(entry.header_offset)
    header = raw.read(_LOCAL_HEADER)
    raw.seek(int.from_bytes(header[26:28], "little") + int.from_bytes(header[28:30], "little"), 1)
    unfold = zlib.decompressobj(-zlib.MAX_WBITS)
    left, seen = entry.compress_size, 0
    try:
        while left > 0 and not unfold.eof:
            packed = raw.read(min(_BLOCK, left))
            left -= len(packed)
            if not packed:
                break
            while packed:
                seen += len(unfold.decompress(packed, _BLOCK))
                if seen > entry.file_size:
                    return False
                packed = unfold.unconsumed_tail
    except zlib.error:
        return True  # damaged, not dangerous: the reader will say so
    return True


def _bomb(what: str) -> errors.CorruptDocument:
    message = f"The document is refused because {what}. Save it again without what inflates it, or split it."
    return errors.CorruptDocument(message)
