"""A broken promise."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Wrong(StrEnum):
    """``lost``: accepted, and not there. ``duplicated``: happened more than once. ``orphaned``: left behind by what
    is gone. ``stuck``: never came to an end.
    """

    LOST = "lost"
    DUPLICATED = "duplicated"
    ORPHANED = "orphaned"
    STUCK = "stuck"


@dataclass(frozen=True, slots=True)
class Finding:
    """``subject`` is the document, task, event or process that it is about."""

    wrong: Wrong
    what: str
    subject: str
