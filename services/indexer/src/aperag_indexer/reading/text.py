"""Bytes of text to characters, whatever encoding their author saved them in."""

from __future__ import annotations

import codecs
import re

from charset_normalizer import from_bytes

from aperag_common import errors

SAMPLE_BYTES = 200_000
"""Enough to tell an encoding; guessing over a whole large document would take seconds."""

_MARKS = ((codecs.BOM_UTF8, "utf-8-sig"), (codecs.BOM_UTF16_LE, "utf-16"), (codecs.BOM_UTF16_BE, "utf-16"))
# Names that browsers read as a superset, since pages under the narrower name use its characters.
_SUPERSETS = {
    "ascii": "cp1252",
    "iso8859-1": "cp1252",
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


def decode(data: bytes) -> str:
    """Lines end in a line feed; raises ``CorruptDocument`` for binary data.

    A byte order mark decides, then UTF-8 where it fits, then what the text says of itself (HTML, XML), then the
    likeliest legacy encoding.
    """
    encoding = _marked(data) or _utf16_by_zeros(data)
    if encoding is not None:
        return _checked(data.decode(encoding, errors="replace"))
    try:
        return _checked(data.decode("utf-8"))
    except UnicodeDecodeError:
        pass
    declared = declared_encoding(data)
    if declared is not None:
        try:
            return _checked(data.decode(declared))
        except UnicodeDecodeError:
            pass
    return _checked(data.decode(_guessed(data), errors="replace"))


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


def _marked(data: bytes) -> str | None:
    return next((encoding for mark, encoding in _MARKS if data.startswith(mark)), None)


def _utf16_by_zeros(data: bytes) -> str | None:
    """UTF-16 without a mark shows in its zero bytes: line ends and spaces have one, always on the same side."""
    sample = data[:SAMPLE_BYTES]
    high, low = sample[0::2].count(0), sample[1::2].count(0)
    # Bytes that are UTF-8 too hold Latin text if they are UTF-16 at all: every other one is zero.
    share = 4 if _is_utf8(sample) else 50
    if max(high, low) * share < len(sample) or min(high, low) * 20 > max(high, low):
        return None
    encoding = "utf-16-be" if high > low else "utf-16-le"
    return None if _CONTROL.search(sample.decode(encoding, errors="ignore")) else encoding


def _is_utf8(sample: bytes) -> bool:
    try:
        codecs.getincrementaldecoder("utf-8")().decode(sample)
    except UnicodeDecodeError:
        return False
    return True


def _guessed(data: bytes) -> str:
    sample = data[:SAMPLE_BYTES]
    if len(data) > len(sample):
        # Behind a sign that is no half of any character: a torn one would rule out the right encoding.
        sample = sample[: max(map(sample.rfind, (b"\n", b" ", b","))) + 1] or sample
    guess = from_bytes(sample).best()
    if guess is None:
        message = "The document is not text in any encoding we know. Save it as UTF-8 and upload it again."
        raise errors.CorruptDocument(message)
    return guess.encoding


def _checked(text: str) -> str:
    if "\x00" in text:
        message = "The document holds binary data, not text. Give it the suffix of what it is and upload it again."
        raise errors.CorruptDocument(message)
    return text.replace("\r\n", "\n").replace("\r", "\n")
