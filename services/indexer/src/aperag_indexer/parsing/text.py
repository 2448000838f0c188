"""Plain text and Markdown: decoded, and otherwise left as their author wrote them."""

from __future__ import annotations

from charset_normalizer import from_bytes

from aperag_common import errors

UTF_8_FIRST = ("utf-8-sig", "utf-8")
SAMPLE_BYTES = 200_000
"""Enough to tell an encoding; guessing over a whole large document would take seconds."""


def decode(data: bytes) -> str:
    """UTF-8 where it fits, else the likeliest legacy encoding; raises ``CorruptDocument`` for binary data."""
    for encoding in UTF_8_FIRST:
        try:
            text = data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return _checked(text)
    guess = from_bytes(data[:SAMPLE_BYTES]).best()
    if guess is None:
        message = "The document is not text in any encoding we know. Save it as UTF-8 and upload it again."
        raise errors.CorruptDocument(message)
    return _checked(data.decode(guess.encoding, errors="replace"))


def _checked(text: str) -> str:
    if "\x00" in text[:SAMPLE_BYTES]:
        message = "The document holds binary data, not text. Its suffix may be wrong."
        raise errors.CorruptDocument(message)
    return text.replace("\r\n", "\n").replace("\r", "\n")
