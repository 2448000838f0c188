"""Latin and other spaced words as terms, with the other spellings under which people look for the same thing."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from functools import lru_cache

_FORMAT = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u206f\ufeff]")
# Emphasis of Markdown and HTML that ends inside a word, as in **Rück**gabe or H~2~O.
_EMPHASIS = re.compile(
    r"(?<=[^\W\d_])\*{1,3}(?=[^\W\d_])|(?<=[^\W\d_])\*{2,3}(?=\d)|(?<=\d)\*{2,3}(?=[^\W\d_])|(?<=\w)~{1,2}(?=\w)"
    r"|(?<=\w)</?(?:b|i|u|s|em|strong|sub|sup|mark|small|span|font)\b[^<>]{0,80}>(?=\w)"
)
_RAISED = re.compile("(?<=\\d)(?=[\u2070\u00b9\u00b2\u00b3\u2074-\u207b])")
_HUMP = re.compile(r"[A-Z]+(?=[A-Z][a-z])|[A-Z]?[a-z]+|[A-Z]+|\d+")
_HAS_HUMPS = re.compile(r"[a-z][A-Z]|[A-Z]{2}[a-z]")
_LETTERS_OR_DIGITS = re.compile(r"\d+|[^\W\d_]+")
_ELIDED = re.compile(
    r"(?:[ldjmtscn]|qu|jusqu|lorsqu|puisqu|quoiqu|dell|all|nell|dall|sull|un|quell|sant|bell)'(?=\w{2})"
)
_VERSION = re.compile(r"v(?=\d)")
_NO_BASE = str.maketrans({"ı": "i", "ł": "l", "ø": "o", "đ": "d", "æ": "ae", "œ": "oe", "ð": "d", "þ": "th", "ħ": "h"})
_UMLAUTS = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "å": "aa", "ø": "oe"})
_SEGMENTS = re.compile(r"[/@:\\]")
_THOUSANDS = re.compile(r"\d{1,3}(?:[.,'\u2019\u00a0\u202f]\d{3})+(?!\d)")
LONGEST = 100
FOLDABLE = "\u0700"
"""Letters of Latin, Greek, Cyrillic, Hebrew and Arabic carry marks that people leave out."""


def prepared(text: str) -> str:
    """In one form of Unicode, without what is not seen and without emphasis inside words; still in capitals."""
    marked = _RAISED.sub("^", _EMPHASIS.sub("", _FORMAT.sub("", text)))
    return unicodedata.normalize("NFKC", marked)


def folded_case(text: str) -> str:
    """Also of Turkish capitals, whose small letters carry a dot that nobody types."""
    return text.casefold().replace("i\u0307", "i")


@lru_cache(maxsize=50_000)
def unaccented(word: str) -> str:
    letters = unicodedata.normalize("NFD", word.translate(_NO_BASE))
    kept = (c for c in letters if unicodedata.category(c) != "Mn" or c >= FOLDABLE)
    return unicodedata.normalize("NFC", "".join(kept))


def bare(word: str) -> str:
    """Without an article that an apostrophe ties to it, and without the possessive s."""
    plain = word.replace("\u2019", "'").removesuffix("'s")
    return _ELIDED.sub("", plain, count=1)


def spellings(written: str) -> Iterator[str]:
    """Of one word as it is written, capitals kept: without accents, its humps, its letters and its digits."""
    word = bare(folded_case(written))
    plain = unaccented(word)
    if plain != word:
        yield plain
        if (spelled := unaccented(word.translate(_UMLAUTS))) != plain:
            yield spelled
    if "'" in plain:
        yield plain.replace("'", "")
    if _HAS_HUMPS.search(written):
        yield from (hump.lower() for hump in _HUMP.findall(unaccented(written)) if len(hump) > 1)
    parts = _LETTERS_OR_DIGITS.findall(plain)
    if len(parts) > 1:
        yield from (part for part in parts if len(part) > 1)
    if (version := _VERSION.match(plain)) and len(plain) > 2:
        yield plain[version.end() :]


def compounds(written: str) -> Iterator[str]:
    """Of several words that signs tie together: ``e-mail``, ``AB-1217-XY``, ``1.17.3``, ``a/b.c``, ``x@y.z``."""
    text = unaccented(folded_case(written))
    for number in _THOUSANDS.finditer(text):
        yield re.sub(r"\D", "", number.group())
    segments = [segment for segment in _SEGMENTS.split(text) if segment]
    wholes = [text, *segments] if len(segments) > 1 else [text]
    for whole in wholes:
        parts = re.findall(r"[^\W_]+", whole)
        if len(parts) < 2 or len(whole) > LONGEST:
            continue
        joined = "".join(parts)
        if joined.isdigit():
            yield ".".join(parts)
            if len(joined) > 4:
                yield joined
        else:
            yield joined
            if (version := _VERSION.match(whole)) is not None and joined[1:].isdigit():
                yield ".".join(parts)[version.end() :]
