"""How much text a result may hold: agents pay for every character, and clients cut what is too long."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

ELLIPSIS = " …"


@dataclass(frozen=True, slots=True)
class Shortened:
    """The texts in their order; ``cut`` are the positions of those that lost their end."""

    texts: list[str]
    cut: list[int]


def shorten(texts: Sequence[str], characters: int) -> Shortened:
    """Together no longer than ``characters``; short texts stay whole, the long ones share what is left."""
    share = _share([len(text) for text in texts], characters)
    cut = [at for at, text in enumerate(texts) if len(text) > share]
    kept = [text if len(text) <= share else _head(text, share) for text in texts]
    return Shortened(kept, cut)


def _share(lengths: Sequence[int], characters: int) -> int:
    """The largest length that all texts may have so that their sum stays within ``characters``."""
    left = characters
    for position, length in enumerate(sorted(lengths)):
        fair = left // (len(lengths) - position)
        if length > fair:
            return fair
        left -= length
    return max(lengths, default=0)


def _head(text: str, length: int) -> str:
    return text[: max(0, length - len(ELLIPSIS))] + ELLIPSIS if length > len(ELLIPSIS) else ""
