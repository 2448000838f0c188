"""What a seed makes of an ingest: texts, faults and requests."""

from __future__ import annotations

from itertools import pairwise

import pytest

from aperag_testing.chaos.plan import LATER, NATS, UNITS, Deed, make_plan, word_of


def test_the_same_seed_makes_the_same_plan_and_another_seed_another() -> None:
    plan, same, other = (make_plan(seed, documents=50, kills=10, wipe=True) for seed in (3, 3, 4))
    assert plan == same
    assert plan != other


@pytest.mark.parametrize("kills", [5, 7, 60])
def test_every_kind_of_process_dies_and_none_much_more_often_than_another(kills: int) -> None:
    struck = [fault.unit for fault in make_plan(1, documents=1000, kills=kills).faults]
    times = [struck.count(unit) for unit in UNITS]
    assert len(struck) == kills
    assert max(times) - min(times) <= 1
    assert {unit.partition("-")[0] for unit in struck} == {"api", "indexer", "nats", "reconciler", "postgres"}


def test_faults_come_in_order_spread_over_the_ingest_and_before_its_end() -> None:
    after = [fault.after for fault in make_plan(1, documents=1000, kills=60).faults]
    assert after == sorted(after)
    assert after[0] < 50
    assert 800 < after[-1] < 900
    assert max(later - earlier for earlier, later in pairwise(after)) <= 2 * 900 / 60


@pytest.mark.parametrize("seed", range(5))
def test_a_wipe_is_one_more_fault_in_the_middle(seed: int) -> None:
    faults = make_plan(seed, documents=1000, kills=60, wipe=True).faults
    [wipe] = [fault for fault in faults if fault.wipe]
    assert len(faults) == 61
    assert wipe.unit == NATS
    assert 300 <= wipe.after <= 700


def test_every_text_has_a_word_of_its_own() -> None:
    texts = make_plan(1, documents=1000, kills=1).texts
    words = {word_of(text) for text in texts.values()}
    assert len(words) == len(texts) == 1000


def test_documents_are_rebuilt_cancelled_and_deleted_at_once_and_later_and_most_are_left_alone() -> None:
    plan = make_plan(1, documents=1000, kills=1)
    requests = [request for requests in plan.requests.values() for request in requests]
    assert set(plan.asked) == set(Deed)
    assert min(plan.asked.values()) > 50
    assert {request.later == 0 for request in requests} == {True, False}
    assert all(0 <= request.later < LATER for request in requests)
    assert sum(not requests for requests in plan.requests.values()) > 450


def test_nothing_is_asked_of_a_document_after_its_delete() -> None:
    plan = make_plan(1, documents=1000, kills=1)
    deeds = [[request.deed for request in requests] for requests in plan.requests.values()]
    assert all(Deed.DELETE not in course[:-1] for course in deeds)


def test_an_undisturbed_ingest_is_only_hurt() -> None:
    plan = make_plan(1, documents=20, kills=5, disturbed=False)
    assert (len(plan.faults), sum(plan.asked.values())) == (5, 0)
