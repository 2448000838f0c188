"""What a chunk is indexed with beside its own text: the name of its document and the headings above it."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}$")
_PARTING = re.compile(r"[_\s]+")
LONGEST_NAME = 200


def contextual(name: str, titles: Sequence[str], text: str) -> str:
    """For both legs, never for people. Headings that the text begins with itself are not said twice."""
    words = _PARTING.sub(" ", _SUFFIX.sub("", name)).strip()[:LONGEST_NAME]
    above = [title for title in titles if not _begins_with(text, title)]
    return "\n".join(part for part in (words, *above, text) if part)


def _begins_with(text: str, title: str) -> bool:
    return title in text[: len(title) + 2 * LONGEST_NAME]
