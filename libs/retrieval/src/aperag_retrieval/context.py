"""What a chunk is indexed with beside its own text: the name of its document and the headings above it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_PARTING = re.compile(r"[_\s]+")
_LETTERS = re.compile(r"[^\W\d_]")
LONGEST_NAME = 200


def contextual(name: str, titles: Sequence[str], text: str) -> str:
    """As words see it, never for people. Headings that the text begins with itself are not said twice."""
    words = _PARTING.sub(" ", _SUFFIX.sub("", name)).strip()[:LONGEST_NAME]
    above = [title for title in titles if not _begins_with(text, title)]
    return "\n".join(part for part in (words, *above, text) if part)


def meant(name: str, titles: Sequence[str], text: str) -> str:
    """As an encoder sees it: to it a name without letters means nothing and blurs what the text means."""
    return contextual(name if _LETTERS.search(_SUFFIX.sub("", name)) else "", titles, text)


def _begins_with(text: str, title: str) -> bool:
    return title in text[: len(title) + 2 * LONGEST_NAME]
