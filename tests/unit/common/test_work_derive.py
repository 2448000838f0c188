"""States that follow from other states, as tables."""

from __future__ import annotations

import itertools
from datetime import timedelta

import pytest

from aperag_work.derive import JobState, document_status, workflow_status
from aperag_work.policy import WorkPolicy


def job(kind: str, status: str, generation: int = 1, observed: int | None = None) -> JobState:
    settled = status in {"ACTIVE", "DELETED", "FAILED"}
    return JobState(kind, status, generation, observed if observed is not None else (generation if settled else 0))


@pytest.mark.parametrize(
    ("jobs", "status"),
    [
        ([("parse", "PENDING"), ("index.vector", "PENDING")], "PENDING"),
        ([("parse", "CREATING"), ("index.vector", "PENDING")], "RUNNING"),
        ([("parse", "ACTIVE"), ("index.vector", "PENDING")], "RUNNING"),
        ([("parse", "ACTIVE"), ("index.vector", "CREATING"), ("index.fulltext", "ACTIVE")], "RUNNING"),
        ([("parse", "ACTIVE"), ("index.vector", "ACTIVE"), ("index.fulltext", "ACTIVE")], "COMPLETE"),
        ([("parse", "ACTIVE"), ("index.vector", "FAILED"), ("index.fulltext", "CREATING")], "FAILED"),
        ([("parse", "FAILED"), ("index.vector", "FAILED")], "FAILED"),
        ([("parse", "DELETING"), ("index.vector", "ACTIVE")], "RUNNING"),
        ([("parse", "ACTIVE"), ("index.vector", "ACTIVE"), ("index.fulltext", "DELETED")], "COMPLETE"),
        ([("parse", "DELETED")], "PENDING"),
        ([], "PENDING"),
    ],
)
def test_a_documents_status_follows_from_its_jobs(jobs: list[tuple[str, str]], status: str) -> None:
    assert document_status(job(kind, state) for kind, state in jobs) == status


def test_a_rebuild_that_waits_makes_a_complete_document_pending_again() -> None:
    states = [job("parse", "PENDING", generation=2, observed=1), job("index.vector", "ACTIVE")]
    assert document_status(states) == "PENDING"


@pytest.mark.parametrize(
    ("outcomes", "status"),
    [
        (["done"], "SUCCESS"),
        (["done", "done", "done"], "SUCCESS"),
        (["done", "failed", "done"], "PARTIAL"),
        (["done", "failed", "failed"], "FAILED"),
        (["failed", "failed"], "FAILED"),
        (["failed"], "FAILED"),
        (["done", "failed", "cancelled"], "FAILED"),
        (["done", "failed", "superseded"], "FAILED"),
        (["cancelled", "cancelled"], "CANCELLED"),
        (["done", "cancelled", "done"], "CANCELLED"),
        (["superseded", "superseded", "cancelled"], "CANCELLED"),
        (["superseded", "superseded"], "SUPERSEDED"),
        (["superseded", "superseded", "done"], "SUPERSEDED"),
        (["done", "superseded", "done"], "SUPERSEDED"),
    ],
)
def test_a_tasks_status_is_the_worst_that_became_of_its_steps(outcomes: list[str], status: str) -> None:
    steps = dict(zip(("parse", "vector", "fulltext"), outcomes, strict=False))
    assert workflow_status(steps) == status


WORST_FIRST = (
    ("open", {"RUNNING"}),
    ("failed", {"FAILED", "PARTIAL"}),
    ("cancelled", {"CANCELLED"}),
    ("superseded", {"SUPERSEDED"}),
)


def test_an_open_step_outweighs_all_others_then_a_failed_then_a_cancelled_then_a_superseded_one() -> None:
    for outcomes in itertools.product(("open", "failed", "cancelled", "superseded", "done"), repeat=3):
        wanted = next((statuses for outcome, statuses in WORST_FIRST if outcome in outcomes), {"SUCCESS"})
        assert workflow_status(dict(zip(("parse", "vector", "fulltext"), outcomes, strict=True))) in wanted, outcomes


@pytest.mark.parametrize(
    ("failures", "luck", "seconds"),
    [(1, 0, 1), (2, 0, 2), (3, 0, 4), (1, 1, 1.2), (7, 0, 60), (7, 1, 72), (1000, 0, 60)],
)
def test_retry_delays_double_up_to_their_cap_with_jitter_on_top(failures: int, luck: float, seconds: float) -> None:
    assert WorkPolicy().retry_delay(failures, luck=luck) == timedelta(seconds=seconds)


def test_the_originals_fixed_minute_can_be_expressed() -> None:
    policy = WorkPolicy(retry_base=timedelta(seconds=60), retry_cap=timedelta(seconds=60), retry_jitter=0)
    assert {policy.retry_delay(n) for n in range(1, 5)} == {timedelta(seconds=60)}
