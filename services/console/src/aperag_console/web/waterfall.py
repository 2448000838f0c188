"""Bars on a common scale of time, for timelines and traces; pure."""

from __future__ import annotations

from dataclasses import dataclass

FULL = 1000.0
"""Width of the whole, in units of the drawing."""
THINNEST = 3.0
"""What took hardly any time is still to be seen."""


@dataclass(frozen=True, slots=True)
class Bar:
    """``look`` is a class of the style sheet."""

    look: str
    x: float
    width: float


@dataclass(frozen=True, slots=True)
class Scale:
    """``start`` and ``end`` in any one unit."""

    start: float
    end: float

    def bar(self, look: str, start: float, end: float) -> Bar:
        length = max(self.end - self.start, 1e-9)
        x = (start - self.start) / length * FULL
        width = max((end - start) / length * FULL, THINNEST)
        return Bar(look, round(min(x, FULL - THINNEST), 1), round(min(width, FULL - min(x, FULL - THINNEST)), 1))
