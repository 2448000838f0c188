"""Names of documents that agents add; pure."""

from __future__ import annotations

import hashlib
import re
from pathlib import PurePosixPath
from urllib.parse import urlsplit

SUFFIX = ".md"
MOST_CHARACTERS = 100
_SUFFIX = re.compile(r"\.[A-Za-z0-9]{1,8}")
_UNFIT = re.compile(r"[^\w\- ]+")


def name_of(given: str, *, title: str = "", url: str = "", text: str = "") -> str:
    """The name that was given, else one of the page's title, its address or, for equal text always equal, the text."""
    if given.strip():
        name = given.strip()
        return name if _SUFFIX.fullmatch(PurePosixPath(name).suffix) else name + SUFFIX
    parts = urlsplit(url)
    for words in (title, f"{parts.hostname or ''} {parts.path}", _heading(text)):
        fit = " ".join(_UNFIT.sub(" ", words).split())[:MOST_CHARACTERS].strip()
        if fit:
            return fit + SUFFIX
    return f"text-{hashlib.sha256(text.encode()).hexdigest()[:12]}{SUFFIX}"


def _heading(text: str) -> str:
    first = text.lstrip().partition("\n")[0]
    return first.lstrip("#").strip() if first.startswith("#") else ""
