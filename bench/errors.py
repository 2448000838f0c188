"""What a person who runs a benchmark can mend."""

from __future__ import annotations


class BenchError(Exception):
    """``str()`` says what is wrong, ``hint`` what to do about it."""

    def __init__(self, message: str, *, hint: str) -> None:
        super().__init__(message)
        self.hint = hint
