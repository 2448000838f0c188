"""States that follow from other states, as tables."""

from __future__ import annotations

from datetime import timedelta

import pytest

from aperag_common.work.derive import StepState, document_status, workflow_status
from aperag_common.work.policy import WorkPolicy


def step(kind: str, status: str, generation: int = 1, observed: int | None = None) -> StepState:
    settled = status in {"ACTIVE", "FAILED"}
    return StepState(kind, status, generation, observed if observed is not None else (generation if settled else 0))


@pytest.mark.parametrize(
    ("steps", "status"),
    [
        ([("parse", "PENDING"), ("vector", "PENDING")], "PENDING"),
        ([("parse", "CREATING"), ("vector", "PENDING")], "RUNNING"),
        ([("parse", "ACTIVE"), ("vector", "PENDING")], "RUNNING"),
        ([("parse", "ACTIVE"), ("vector", "CREATING"), ("fulltext", "ACTIVE")], "RUNNING"),
        ([("parse", "ACTIVE"), ("vector", "ACTIVE"), ("fulltext", "ACTIVE")], "COMPLETE"),
        ([("parse", "ACTIVE"), ("vector", "FAILED"), ("fulltext", "CREATING")], "FAILED"),
        ([("parse", "FAILED"), ("vector", "FAILED")], "FAILED"),
        ([("parse", "DELETING"), ("vector", "ACTIVE")], "RUNNING"),
        ([], "PENDING"),
    ],
)
def test_a_documents_status_follows_from_its_steps(steps: list[tuple[str, str]], status: str) -> None:
    assert document_status(step(kind, state) for kind, state in steps) == status


def test_a_rebuild_that_waits_makes_a_complete_document_pending_again() -> None:
    states = [step("parse", "PENDING", generation=2, observed=1), step("vector", "ACTIVE")]
    assert document_status(states) == "PENDING"


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        ({"parse": "done", "vector": "open"}, "RUNNING"),
        ({"parse": "done", "vector": "done", "fulltext": "done"}, "SUCCESS"),
        ({"parse": "done", "vector": "failed", "fulltext": "done"}, "PARTIAL"),
        ({"parse": "done", "vector": "failed", "fulltext": "failed"}, "FAILED"),
        ({"parse": "failed", "vector": "failed"}, "FAILED"),
        ({"parse": "superseded", "vector": "superseded"}, "SUPERSEDED"),
        ({"parse": "superseded", "vector": "superseded", "fulltext": "done"}, "SUCCESS"),
        ({"parse": "cancelled", "vector": "cancelled"}, "CANCELLED"),
        ({"parse": "done", "vector": "cancelled", "fulltext": "done"}, "CANCELLED"),
        ({"parse": "done"}, "SUCCESS"),
    ],
)
def test_a_workflows_status_follows_from_its_outcomes(outcomes: dict[str, str], status: str) -> None:
    assert workflow_status(outcomes) == status


@pytest.mark.parametrize(
    ("failures", "luck", "seconds"),
    [(1, 0, 1), (2, 0, 2), (3, 0, 4), (1, 1, 1.2), (7, 0, 60), (7, 1, 72), (1000, 0, 60)],
)
def test_retry_delays_double_up_to_their_cap_with_jitter_on_top(failures: int, luck: float, seconds: float) -> None:
    assert WorkPolicy().retry_delay(failures, luck=luck) == timedelta(seconds=seconds)


def test_the_originals_fixed_minute_can_be_expressed() -> None:
    policy = WorkPolicy(retry_base=timedelta(seconds=60), retry_cap=timedelta(seconds=60), jitter=0)
    assert {policy.retry_delay(n) for n in range(1, 5)} == {timedelta(seconds=60)}


@pytest.mark.parametrize(("dispatch", "seconds"), [(0, 60), (1, 60), (2, 120), (4, 480), (5, 600), (99, 600)])
def test_a_command_is_missed_later_with_every_dispatch(dispatch: int, seconds: int) -> None:
    assert WorkPolicy().due_after(dispatch) == timedelta(seconds=seconds)
