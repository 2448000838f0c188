"""Exit codes of ``aperag``."""

from __future__ import annotations

from enum import IntEnum


class Exit(IntEnum):
    """``2`` is the option parser's."""

    OK = 0
    FAILED = 1
    WRONG_STATE = 3
