"""What consumers there should be, against those that there are; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable

    from aperag_api.operations.subscriptions.repository import SubscriptionRow


@dataclass(frozen=True, slots=True)
class Repair:
    make: tuple[SubscriptionRow, ...] = ()
    remove: tuple[str, ...] = ()


def diff(found: Collection[str], rows: Iterable[SubscriptionRow]) -> Repair:
    """``found`` are the ids that have a consumer, read *before* the rows: a row is written before its consumer is made.

    So a consumer without a row is that of a subscription, or of a user, that was deleted.
    """
    wanted = {row.id: row for row in rows}
    make = tuple(row for id_, row in wanted.items() if id_ not in found)
    return Repair(make, tuple(sorted(set(found) - wanted.keys())))
