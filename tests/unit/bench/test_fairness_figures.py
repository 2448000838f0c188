"""The figures of a fairness run, from trials that were made up."""

from __future__ import annotations

from typing import Any

import pytest
from bench.fairness.findings import Measured, Trial, findings
from bench.fairness.loads import Backlog, Documents

NOBODY: Any = None


def trials(*seconds: float) -> list[Trial]:
    return [Trial(value, {"parse: work": value / 2}) for value in seconds]


def measured(*beside: float) -> Measured:
    return Measured(
        load=Documents(NOBODY, NOBODY, 5000),
        queueing_seconds=20.0,
        before=Backlog(waiting=4800, released=32, worked_off=168),
        after=Backlog(waiting=4000, released=32, worked_off=968),
        alone=trials(0.1, 0.2, 0.3),
        beside=trials(*beside),
        per_second=15.0,
    )


def test_the_summary_holds_both_ends_of_the_distribution() -> None:
    summary = findings(measured(1.0, 2.0, 3.0)).summary
    assert summary == {
        "queued": 5000,
        "trials": 3,
        "p50": pytest.approx(2.0),
        "p95": pytest.approx(2.9),
        "alone_p50": pytest.approx(0.2),
    }


@pytest.mark.parametrize(("p50", "met"), [(1.9, True), (2.0, True), (2.1, False)])
def test_the_target_is_held_against_the_median_beside_the_backlog(p50: float, *, met: bool) -> None:
    (target,) = findings(measured(0.5, p50, 9.0)).targets
    assert target.met is met


def test_stages_are_told_as_medians_of_both() -> None:
    (section,) = (s for s in findings(measured(1.0, 2.0, 3.0)).sections if s.title.startswith("where"))
    assert section.rows == [
        {"stage": "parse: work", "alone": pytest.approx(100.0), "beside": pytest.approx(1000.0)},
    ]
