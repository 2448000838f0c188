"""From how someone stands to a collection to what they may do with it; pure."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum


class Right(StrEnum):
    """``READ`` and ``CHANGE`` by the owner's own routes; ``VISIT`` by the marketplace's."""

    VISIT = "visit"
    SEARCH = "search"
    READ = "read"
    CHANGE = "change"


class Verdict(Enum):
    """``HIDDEN``: for whoever asks it does not exist."""

    GRANTED = 1
    FORBIDDEN = 2
    HIDDEN = 3


@dataclass(frozen=True, slots=True)
class Standing:
    """To a collection that lives: a deleted one is nobody's. ``known``: with a valid credential."""

    known: bool = True
    owner: bool = False
    published: bool = False
    subscribed: bool = False


def rights(standing: Standing) -> frozenset[Right]:
    granted = {Right.VISIT} if standing.published else set()
    if standing.known and standing.owner:
        granted |= {Right.SEARCH, Right.READ, Right.CHANGE}
    elif standing.known and standing.published:
        granted |= {Right.SEARCH, Right.READ} if standing.subscribed else {Right.SEARCH}
    return frozenset(granted)


def decide(standing: Standing, right: Right) -> Verdict:
    """Whoever may search a collection knows that it is there: a change of it is refused instead of not found."""
    granted = rights(standing)
    if right in granted:
        return Verdict.GRANTED
    return Verdict.FORBIDDEN if right is Right.CHANGE and Right.SEARCH in granted else Verdict.HIDDEN
