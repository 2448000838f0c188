"""How long a text is, in words and in tokens."""

from __future__ import annotations

import re
from typing import NamedTuple

from aperag_retrieval.analysis import HAN, KANA
from aperag_retrieval.markdown import count_tokens

PIECE = 20_000
"""Characters looked at in one go: other threads run between two of them."""

_WORD = re.compile(f"[{HAN}{KANA}]|[^\\W{HAN}{KANA}]+")


class Length(NamedTuple):
    words: int
    tokens: int


def measure(text: str) -> Length:
    """A Han or kana character is a word; tokens are counted as those of chunks are, which is an estimate."""
    words = tokens = 0
    for start in range(0, len(text), PIECE):
        end = min(start + PIECE, len(text))
        words += sum(1 for _ in _WORD.finditer(text, start, end))
        tokens += count_tokens(text, start, end)
    return Length(words, tokens)
