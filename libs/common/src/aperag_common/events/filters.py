"""Which events a reader wants: exact types, whole aggregates as ``document.*``, or all; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common import subjects
from aperag_common.events import facts

if TYPE_CHECKING:
    from collections.abc import Sequence

EVERY_FACT = ".*"


def matches(types: Sequence[str] | None, type_: str) -> bool:
    """Whether an event of this type is wanted; no ``types``: every event is."""
    return not types or any(_covers(wanted, type_) for wanted in types)


def unknown(types: Sequence[str]) -> list[str]:
    """Those that no event of this version has: most likely a slip of the pen."""
    known = [fact.type_name for fact in facts.FACTS]
    return [wanted for wanted in types if not any(_covers(wanted, it) for it in known)]


def filter_subjects(owner: str | None, types: Sequence[str] | None) -> list[subjects.Subject]:
    """Subjects that bring what is wanted of one owner, or of everybody for None; none of them overlaps another."""
    if not types:
        return [subjects.ALL_EVENTS if owner is None else subjects.owner_events(owner)]
    wanted = sorted(set(types))
    narrow = [it for it in wanted if not any(_covers(other, it) for other in wanted if other != it)]
    return [subjects.owner_events_of_type(owner, it) for it in narrow]


def _covers(wanted: str, type_: str) -> bool:
    return wanted == type_ or (wanted.endswith(EVERY_FACT) and type_.startswith(wanted[:-1]))
