"""Which limit holds, and what still fits below it."""

from __future__ import annotations

import pytest

from aperag_api.access.quotas.decide import BUILT_IN, Use, exceeded, limits
from aperag_common.db.models import QuotaType

DOCUMENTS, HERE = QuotaType.DOCUMENTS, QuotaType.DOCUMENTS_PER_COLLECTION


@pytest.mark.parametrize(
    ("own", "defaults", "expected"),
    [
        ({}, {}, 1000),
        ({}, {"max_document_count": 7}, 7),
        ({"max_document_count": None}, {"max_document_count": 7}, 7),
        ({"max_document_count": 3}, {"max_document_count": 7}, 3),
        ({"max_document_count": 0}, {}, 0),
        ({"max_document_count": 5000}, {"max_document_count": 7}, 5000),
        ({"max_bot_count": 3}, {"max_collection_count": 7}, 1000),
    ],
)
def test_a_users_own_limit_goes_before_the_installations_and_that_before_the_built_in_one(
    own: dict[str, int | None], defaults: dict[str, int], expected: int
) -> None:
    found = limits(own, defaults)
    assert found[DOCUMENTS] == expected
    assert found.keys() == BUILT_IN.keys() == set(QuotaType)


@pytest.mark.parametrize(
    ("asked", "uses", "expected"),
    [
        (1, [Use(DOCUMENTS, 10, 9)], None),
        (1, [Use(DOCUMENTS, 10, 10)], DOCUMENTS),
        (2, [Use(DOCUMENTS, 10, 9)], DOCUMENTS),
        (0, [Use(DOCUMENTS, 10, 20)], None),
        (1, [Use(DOCUMENTS, 10, 20)], DOCUMENTS),
        (1, [Use(DOCUMENTS, 0, 0)], DOCUMENTS),
        (1, [Use(DOCUMENTS, 10, 9), Use(HERE, 5, 5)], HERE),
        (1, [Use(DOCUMENTS, 10, 10), Use(HERE, 5, 5)], DOCUMENTS),
        (1, [], None),
    ],
)
def test_the_first_quota_that_does_not_hold_what_is_asked_is_named(
    asked: int, uses: list[Use], expected: QuotaType | None
) -> None:
    found = exceeded(asked, uses)
    assert (found and found.quota_type) == expected


def test_nothing_remains_where_a_limit_was_set_below_what_is_there() -> None:
    assert (Use(DOCUMENTS, 10, 4).remaining, Use(DOCUMENTS, 10, 25).remaining) == (6, 0)
