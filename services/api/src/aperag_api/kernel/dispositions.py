"""The name that a part of a form gives its document, in each of the ways that clients write it."""

from __future__ import annotations

import re
from email.errors import HeaderParseError
from email.header import decode_header, make_header
from urllib.parse import unquote_to_bytes

from aperag_common import errors

# RFC 5987, as RFC 6266 has it for downloads and some clients for uploads: filename*=UTF-8''na%C3%AFve.txt
_EXTENDED = re.compile(rb";\s*filename\*\s*=\s*\"?([\w.:-]+)'[\w-]*'([^;\"\s]+)", re.IGNORECASE)
_ENCODED_WORD = re.compile(r"=\?[\w.:-]+\?[BbQq]\?[^?]*\?=")


def filename_of(disposition: bytes, plain: bytes | None) -> str | None:
    """The extended form wins over the plain one. None for a part without a name; raises for a name that is no text."""
    extended = _EXTENDED.search(disposition)
    if extended is not None:
        return _read(unquote_to_bytes(extended.group(2)), extended.group(1).decode("ascii"))
    return None if plain is None else _words(_read(plain, "utf-8"))


def _read(name: bytes, charset: str) -> str:
    try:
        return name.decode(charset)
    except (UnicodeDecodeError, LookupError) as err:
        message = f"The file name {ascii(name)[2:-1]} is not {charset}; send names as UTF-8"
        raise errors.InvalidParameter(message) from err


def _words(name: str) -> str:
    """Encoded words of RFC 2047, which some mail programs and libraries write into forms."""
    if not _ENCODED_WORD.search(name):
        return name
    try:
        return str(make_header(decode_header(name)))
    except (HeaderParseError, UnicodeDecodeError, LookupError, ValueError):
        return name
