"""Bytes of text to characters, whatever encoding their author saved them in."""

from __future__ import annotations

import codecs
import re
import unicodedata
from typing import NamedTuple

from aperag_common import errors
from aperag_indexer.reading.guessing import guess

SAMPLE_BYTES = 200_000
"""Enough to tell an encoding; guessing over a whole large document would take seconds."""

_MARKS = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_ESCAPES = ((b"\x1b$B", "iso2022_jp_2"), (b"\x1b$@", "iso2022_jp_2"), (b"\x1b$)C", "iso2022_kr"))
"""Encodings of seven bits, which are ASCII to everything else."""
# Names that browsers read as a superset, since pages under the narrower name use its characters.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
    "iso8859-9": "cp1254",
    "tis-620": "cp874",
    "euc_kr": "cp949",
    "gb2312": "gb18030",
    "gbk": "gb18030",
    "shift_jis": "cp932",
    "big5": "big5hkscs",
}
_DECLARED = re.compile(
    rb"""<(?:meta|\?xml)\b[^>]{0,300}?(?:charset|encoding)\s*=\s*["']?([\w.:-]{1,40})""", re.IGNORECASE
)
_CONTROL = re.compile("[\x00-\x08\x0e-\x1f]")
_DECLARED_WITHIN = 4096
_WHOLE_FOR_EACH_TORN = 4
"""Bytes are damaged UTF-8, no legacy encoding, where so many characters are whole for each that is not."""
_MOST_CONTROL = 0.05
"""A larger share of control characters is binary data."""


class Decoded(NamedTuple):
    """``torn`` counts what the encoding could not read and U+FFFD stands for."""

    text: str
    encoding: str
    torn: int = 0


def decode(data: bytes) -> str:
    """The text of ``read_text`` alone."""
    return read_text(data).text


def read_text(data: bytes) -> Decoded:
    """Lines end in a line feed; raises ``CorruptDocument`` for binary data and for what no encoding makes sense of.

    A byte order mark decides, then UTF-8 where it fits or nearly fits, then what the text says of itself (HTML, XML),
    then the likeliest legacy encoding.
    """
    encoding = _marked(data) or _utf16_by_zeros(data)
    if encoding is None and _is_utf8(data):
        encoding = "utf-8"
    if encoding is None:
        encoding = _declared_and_fits(data) or guess(_sample(data))
    text = data.decode(encoding, errors="replace")
    return Decoded(_checked(text), encoding, text.count("\ufffd") - data.count(b"\xef\xbf\xbd"))


def declared_encoding(data: bytes) -> str | None:
    """The encoding that an HTML page or an XML declaration names, where Python knows it."""
    found = _DECLARED.search(data, 0, _DECLARED_WITHIN)
    if found is None:
        return None
    try:
        name = codecs.lookup(found.group(1).decode("ascii")).name
    except (LookupError, UnicodeDecodeError):
        return None
    return _SUPERSETS.get(name, name)


def _declared_and_fits(data: bytes) -> str | None:
    declared = declared_encoding(data)
    if declared is None:
        return None
    try:
        data.decode(declared)
    except (UnicodeDecodeError, LookupError):  # "hex" and its kind are codecs too, but of no text
        return None
    return declared


def _marked(data: bytes) -> str | None:
    marked = (encoding for mark, encoding in _MARKS if data.startswith(mark))
    escaped = (encoding for escape, encoding in _ESCAPES if escape in data[:SAMPLE_BYTES])
    return next(marked, None) or next(escaped, None)


def _utf16_by_zeros(data: bytes) -> str | None:
    """UTF-16 without a mark shows in its zero bytes: read from the right side they belong to spaces and line ends."""
    sample = data[:SAMPLE_BYTES]
    if b"\x00" not in sample:
        return None
    # Bytes that are UTF-8 too hold Latin text if they are UTF-16 at all.
    least = 0.5 if _is_exactly_utf8(sample) else 0.01
    share, encoding = max((_ascii_share(sample, encoding), encoding) for encoding in ("utf-16-le", "utf-16-be"))
    return encoding if share >= least else None


def _ascii_share(sample: bytes, encoding: str) -> float:
    """0 for what is no text in this encoding."""
    text = sample.decode(encoding, errors="ignore")
    senseless = any(unicodedata.category(character) in {"Cn", "Co"} for character in set(text))
    if _CONTROL.search(text) or senseless:
        return 0.0
    return sum(character < "\x7f" for character in text) / max(1, len(text))


def _is_utf8(data: bytes) -> bool:
    """Also where a few bytes are not: a log that was cut off, a line that another program wrote."""
    try:
        data.decode("utf-8")
    except UnicodeDecodeError:
        text = data.decode("utf-8", errors="replace")
        torn = text.count("\ufffd")
        # Chance makes two bytes of a legacy text one character of UTF-8 now and then, hardly ever three.
        whole = sum(2 if character > "\u07ff" else 1 for character in text if character > "\x7f") - 2 * torn
        return whole >= _WHOLE_FOR_EACH_TORN * torn
    return True


def _is_exactly_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _sample(data: bytes) -> bytes:
    sample = data[:SAMPLE_BYTES]
    if len(data) > len(sample):
        # Behind a sign that is no half of any character: a torn one would rule out the right encoding.
        sample = sample[: max(map(sample.rfind, (b"\n", b" ", b","))) + 1] or sample
    return sample


def _checked(text: str) -> str:
    if len(_CONTROL.findall(text)) > max(1, _MOST_CONTROL * len(text)):
        message = "The document holds binary data, not text. Give it the suffix of what it is and upload it again."
        raise errors.CorruptDocument(message)
    return text.replace("\x00", "").replace("\r\n", "\n").replace("\r", "\n")
