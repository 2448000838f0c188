"""Bytes of a page as text, whatever its server says about them."""

from __future__ import annotations

import codecs
import re

_BOMS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_META = re.compile(rb"""<meta[^>]{0,200}?charset\s{0,5}=\s{0,5}["']?\s{0,5}([A-Za-z0-9_:.-]{1,40})""", re.IGNORECASE)
_META_WITHIN = 4096

# Python knows codecs that are no charsets, such as punycode and unicode_escape; a page does not get to choose those.
_CHARSET = re.compile(
    r"ascii|utf-8|utf-16.*|utf-32.*|iso8859-\d+|cp\d+|koi8-\w|mac-\w+|gb2312|gbk|gb18030|hz|big5\w*"
    r"|shift_jis\w*|euc_\w+|iso2022_\w+|johab|tis-620|ptcp154|kz1048"
)
_NOT_LIKE_ASCII = re.compile(r"utf-16.*|utf-32.*|iso2022_\w+|hz")
_WIDER = {"ascii": "cp1252", "iso8859-1": "cp1252", "gb2312": "gb18030", "gbk": "gb18030", "shift_jis": "cp932"}
"""What browsers read under a name: more than its standard holds."""


def decoded(content: bytes, declared: str = "") -> str | None:
    """None where no declared charset fits.

    What is valid UTF-8 is UTF-8, also where the server says otherwise: other charsets hardly ever look like it. Those
    in which every text is also valid UTF-8 must be believed first.
    """
    for bom, charset in _BOMS:
        if content.startswith(bom):
            return content.decode(charset, errors="replace")
    named = [charset for charset in (_known(declared), _known(_in_meta(content))) if charset]
    first = [charset for charset in named if _NOT_LIKE_ASCII.fullmatch(charset)]
    for charset in [*first, "utf-8", *named]:
        try:
            return content.decode(charset)
        except UnicodeDecodeError:
            continue
    # A page with a few broken bytes is still a page.
    return content.decode(named[0], errors="replace") if named else None


def _in_meta(content: bytes) -> str:
    found = _META.search(content[:_META_WITHIN])
    return found.group(1).decode("ascii") if found else ""


def _known(name: str) -> str | None:
    try:
        charset = codecs.lookup(name).name
    except (LookupError, ValueError):
        return None
    return _WIDER.get(charset, charset) if _CHARSET.fullmatch(charset) else None
