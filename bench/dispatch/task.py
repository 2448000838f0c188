"""The two tasks that are dispatched."""

from __future__ import annotations

from enum import StrEnum


class Task(StrEnum):
    """``wait`` waits without using a core, as for an answer from another machine."""

    NOOP = "noop"
    WAIT = "wait"


WAIT_SECONDS = 0.02
SLOTS = 32
"""Tasks that one process has in hand at a time, on either side."""
