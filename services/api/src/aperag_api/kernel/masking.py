"""What may be kept of a request and its answer: no secrets, nothing long, and only what PostgreSQL can hold."""

from __future__ import annotations

import math
import re
from typing import Any

MASK = "***"
CUT = "…"
LONGEST = 1024
MOST_ENTRIES = 50
DEEPEST = 8
MOST_CHARACTERS = 16 * 1024
"""Of all that is kept of one value, names included."""

_BIGGEST = 2**63

_SECRET_NAME = re.compile(
    r"pass(?:word|wd|phrase|code)|pwd|secret|token|key|authorization|credential|cookie|signature|private|seed",
    re.IGNORECASE,
)
# A name that counts tokens or says which key, not what it is.
_NO_SECRET = frozenset({"max_tokens", "max_completion_tokens", "token_type", "keywords", "key_id"})

# Our keys, and what is signed for a session or an invitation, wherever a person puts them. Whatever may be long begins
# where a word does: else each of its letters would be tried as its begin, and a stranger's request would take seconds.
_SECRET_VALUE = re.compile(
    r"sk-[0-9A-Za-z_-]{16,}|whsec_[0-9A-Za-z+/=]{16,}|(?<![\w-])eyJ[\w-]{8,}\.[\w-]+\.[\w-]*|(?<=Bearer )\S+|(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"
)
_UNSTORABLE = re.compile("[\x00\ud800-\udfff]")


def clean(value: str, longest: int = LONGEST) -> str:
    """As it can be stored, without credentials that are known by their form."""
    text = _SECRET_VALUE.sub(MASK, _UNSTORABLE.sub("\ufffd", value[: 2 * longest]))
    return text if len(text) <= longest else text[: longest - len(CUT)] + CUT


def is_secret(name: str) -> bool:
    return name.lower() not in _NO_SECRET and _SECRET_NAME.search(name) is not None


def masked(value: Any) -> Any:
    """``value`` is what a JSON reader makes; what is empty is left out of it."""
    return _Keeper().keep(value, DEEPEST)


class _Keeper:
    def __init__(self) -> None:
        self._left = MOST_CHARACTERS

    def keep(self, value: Any, depth: int) -> Any:
        if isinstance(value, dict | list):
            return self._entries(value, depth) if depth else CUT
        if isinstance(value, str):
            return self._spend(clean(value))
        if isinstance(value, float) and not math.isfinite(value):
            return str(value)
        if isinstance(value, int) and not -_BIGGEST <= value < _BIGGEST:
            return CUT
        return value

    def _entries(self, value: dict[str, Any] | list[Any], depth: int) -> Any:
        if isinstance(value, list):
            kept = [self.keep(entry, depth - 1) for entry in value[:MOST_ENTRIES] if self._left > 0]
            return kept if len(kept) == len(value) else [*kept, CUT]
        filled = {name: entry for name, entry in value.items() if entry not in (None, "", [], {})}
        named: dict[str, Any] = {}
        for name, entry in list(filled.items())[:MOST_ENTRIES]:
            if self._left <= 0:
                break
            named[self._spend(clean(name, 100))] = MASK if is_secret(name) else self.keep(entry, depth - 1)
        return named if len(named) == len(filled) else {**named, CUT: CUT}

    def _spend(self, text: str) -> str:
        self._left -= len(text)
        return text
