"""The figures of a chaos run, from faults and moments that were made up."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest
from bench.chaos.findings import Hurt, Pace, findings

from aperag_testing.chaos.finding import Finding, Wrong
from aperag_testing.chaos.ingest import Struck
from aperag_testing.chaos.plan import Fault, make_plan
from aperag_testing.chaos.rest import Rest

if TYPE_CHECKING:
    from bench.report.figures import Findings

STRUCK = [
    Struck(Fault(2, "indexer-2"), at=100.0, ended=2),
    Struck(Fault(4, "nats", wipe=True), at=150.0, ended=4),
    Struck(Fault(6, "indexer"), at=200.0, ended=7),
]
HURT = Hurt(
    plan=make_plan(1, documents=20, kills=2, wipe=True),
    settings="production",
    struck=STRUCK,
    went_through=True,
    rest=Rest(work=270.0, relay=250.0, consumers=280.0),
    broken=[],
    built_after=30,
    calm_rate=2.0,
    pace=Pace(3.0, 80.0, 4, 1),
    refused={"ConnectError": 12},
)
LOST = Finding(Wrong.LOST, "accepted, but the gateway does not list it", "doc1")


def column(found: Findings, title: str) -> dict[object, object]:
    """The second column of a table by its first."""
    (section,) = (section for section in found.sections if section.title == title)
    key, value = section.columns[:2]
    return {row[key]: row.get(value) for row in section.rows}


def test_the_summary_counts_documents_kills_wipes_and_what_broke() -> None:
    assert findings(replace(HURT, broken=[LOST, LOST])).summary == {
        "docs": 20,
        "kills": 2,
        "wipes": 1,
        "lost": 2,
        "duplicated": 0,
        "orphaned": 0,
        "stuck": 0,
        "seconds_to_converge": 80.0,
    }


@pytest.mark.parametrize(
    ("hurt", "failed"),
    [(HURT, False), (replace(HURT, broken=[LOST]), True), (replace(HURT, went_through=False), True)],
)
def test_the_command_fails_where_a_promise_was_broken_or_the_ingest_did_not_end(hurt: Hurt, *, failed: bool) -> None:
    assert findings(hurt).failed is failed


@pytest.mark.parametrize(("built_after", "beyond", "met"), [(30, 65.0, False), (40, 60.0, True), (400, 0.0, True)])
def test_the_compute_time_of_what_was_open_does_not_count(built_after: int, beyond: float, *, met: bool) -> None:
    (target,) = (t for t in findings(replace(HURT, built_after=built_after)).targets if t.name.startswith("converged"))
    assert target.value == pytest.approx(beyond)
    assert target.met is met


def test_a_system_that_never_came_to_rest_has_no_time_and_meets_no_target_of_it() -> None:
    found = findings(replace(HURT, rest=replace(HURT.rest, consumers=None), broken=[LOST]))
    assert found.summary["seconds_to_converge"] is None
    assert not [target for target in found.targets if target.name.startswith("converged")]
    assert column(found, "after the last fault")["consumers idle, s"] is None


def test_replicas_count_as_one_kind_and_a_wipe_apart() -> None:
    assert column(findings(HURT), "killed") == {"indexer": 2, "wipe": 1}


def test_what_was_open_is_told_for_the_last_fault() -> None:
    told = column(findings(HURT), "after the last fault")
    assert told["last fault"] == "indexer"
    assert told["documents that had not ended"] == 13
    assert told["compute time of those builds, s"] == pytest.approx(15.0)
    assert told["every task ended, s"] == pytest.approx(70.0)


def test_the_first_broken_promises_are_named() -> None:
    found = findings(replace(HURT, broken=[LOST] * 60))
    (section,) = (section for section in found.sections if section.title == "broken promises")
    assert len(section.rows) == 50
    assert section.rows[0] == {"wrong": "lost", "what": LOST.what, "subject": "doc1"}
