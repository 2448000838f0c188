"""Consumers against rows, as a table."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from aperag_api.operations.subscriptions.diff import diff
from aperag_api.operations.subscriptions.repository import SubscriptionRow

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def row(id_: str) -> SubscriptionRow:
    return SubscriptionRow(id_, "u1", id_, None, False, 1, None, NOW, NOW)


@pytest.mark.parametrize(
    ("found", "rows", "made", "removed"),
    [
        ((), (), [], []),
        (("a",), ("a",), [], []),
        ((), ("a", "b"), ["a", "b"], []),
        (("a", "b"), (), [], ["a", "b"]),
        (("a", "b"), ("b", "c"), ["c"], ["a"]),
    ],
)
def test_consumers_follow_the_rows(
    found: tuple[str, ...], rows: tuple[str, ...], made: list[str], removed: list[str]
) -> None:
    repair = diff(set(found), [row(it) for it in rows])
    assert [it.id for it in repair.make] == made
    assert list(repair.remove) == removed
