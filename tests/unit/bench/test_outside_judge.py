"""Events of another service under chaos: what is planned, and what the judge of it finds."""

from __future__ import annotations

import hashlib
from collections import Counter
from dataclasses import replace

import pytest

from aperag_testing.chaos.finding import Wrong
from aperag_testing.chaos.outside import (
    UNITS,
    Outside,
    SeenDocument,
    SeenEvent,
    judge_outside,
    make_outside_plan,
    newest,
)

PLAN = make_outside_plan(1, events=400, kills=8)


def kept() -> Outside:
    living = {subject: content for subject, content in newest(PLAN).items() if content is not None}
    return Outside(
        events=[SeenEvent(event.id, "COMPLETED", None) for event in PLAN.events],
        documents=[
            SeenDocument(subject, "COMPLETE", hashlib.sha256(content.encode()).hexdigest(), searchable=True)
            for subject, content in living.items()
        ],
        told={event.id: 1 for event in PLAN.events},
        letters=0,
        left=0,
    )


def test_a_plan_repeats_itself_and_holds_every_kind_of_event() -> None:
    assert make_outside_plan(1, events=400, kills=8) == PLAN
    assert Counter(fault.unit for fault in PLAN.faults) == dict.fromkeys(UNITS, 2)
    assert len({event.id for event in PLAN.events}) == len({event.time for event in PLAN.events}) == 400
    subjects = Counter(event.subject for event in PLAN.events)
    assert max(subjects.values()) > 1
    assert any(event.content is None for event in PLAN.events)
    late = [b for a, b in zip(PLAN.events, PLAN.events[1:], strict=False) if b.time < a.time]
    assert late
    assert None in newest(PLAN).values()


def test_a_system_that_kept_its_promises_is_found_without_fault() -> None:
    assert judge_outside(kept(), PLAN) == []


FIRST = kept().documents[0]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"events": kept().events[1:]}, Wrong.LOST),
        ({"events": [kept().events[0], *kept().events]}, Wrong.DUPLICATED),
        ({"events": [*kept().events, SeenEvent("stranger", "COMPLETED", None)]}, Wrong.ORPHANED),
        ({"events": [replace(kept().events[0], status="PENDING"), *kept().events[1:]]}, Wrong.STUCK),
        ({"events": [replace(kept().events[0], status="FAILED", code="X"), *kept().events[1:]]}, Wrong.LOST),
        ({"told": {**kept().told, PLAN.events[0].id: 2}}, Wrong.DUPLICATED),
        ({"told": {}}, Wrong.LOST),
        ({"documents": kept().documents[1:]}, Wrong.LOST),
        ({"documents": [*kept().documents, FIRST]}, Wrong.DUPLICATED),
        ({"documents": [*kept().documents, replace(FIRST, name="revived.txt")]}, Wrong.ORPHANED),
        ({"documents": [replace(FIRST, sha256="old"), *kept().documents[1:]]}, Wrong.LOST),
        ({"documents": [replace(FIRST, status="RUNNING"), *kept().documents[1:]]}, Wrong.STUCK),
        ({"documents": [replace(FIRST, searchable=False), *kept().documents[1:]]}, Wrong.LOST),
        ({"letters": 1}, Wrong.LOST),
        ({"left": 1}, Wrong.STUCK),
    ],
)
def test_each_broken_promise_is_found(changes: dict[str, object], wrong: Wrong) -> None:
    assert {finding.wrong for finding in judge_outside(replace(kept(), **changes), PLAN)} == {wrong}  # type: ignore[arg-type]
