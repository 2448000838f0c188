"""What a collection's summary needs, from what is wanted and what is there; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from aperag_reconciler.summaries.observe import Observed


class Need(StrEnum):
    """``RENEW`` is a new generation."""

    NOTHING = "nothing"
    ADD = "add"
    REMOVE = "remove"
    RENEW = "renew"


@dataclass(frozen=True, slots=True)
class Patience:
    """A summary waits until its documents have been ``quiet`` for so many seconds, but never longer than ``longest``."""

    quiet: float
    longest: float


def diff(observed: Observed, patience: Patience) -> Need:
    if not observed.wanted:
        return Need.NOTHING if observed.status is None else Need.REMOVE
    if observed.status is None:
        return Need.ADD
    if observed.contents is None or observed.contents == observed.summarized:
        return Need.NOTHING
    settled_ago = observed.settled_ago or 0.0
    changed_ago = observed.changed_ago
    if observed.status == "FAILED" and (changed_ago is None or changed_ago >= settled_ago):
        # It was tried with these very documents: only a person, or another change, makes it worth another try.
        return Need.NOTHING
    if changed_ago is None or changed_ago >= patience.quiet or settled_ago >= patience.longest:
        return Need.RENEW
    return Need.NOTHING
