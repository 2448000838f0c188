"""Why a step waits: every combination of facts gets a reason and a sentence, and the usual ones the right ones."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import product
from typing import Any

import pytest

from aperag_api.operations.timelines.decide import DocumentFacts, Reason, decide, moment, next_try, summary
from aperag_api.operations.timelines.facts import REMOVED, Queue, StepFacts, Turn
from aperag_api.operations.timelines.words import ordinal, span
from aperag_common.db.models.base import OPEN_STATUSES, JobStatus

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)
SOON, PAST = NOW + timedelta(seconds=12), NOW - timedelta(seconds=4)
TURN = Turn(position=3, waiting=12, in_flight=32, limit=32, owners=2)
QUEUE = Queue("indexer-parse", workers=2, free=3, reconcilers=1, pending=7)
ATTEMPT = {"attempt": 1, "next_try_at": SOON.isoformat()}


def step(**facts: Any) -> StepFacts:
    usual = {"kind": "parse", "status": "PENDING", "dispatch": 1, "due_at": SOON, "max_failures": 4, "max_attempts": 12}
    return StepFacts(now=NOW, **{**usual, **facts})


def working(**facts: Any) -> StepFacts:
    held = {"status": "CREATING", "leased": True, "lease_until": SOON, "claimed_at": PAST, "worker": "indexer-2"}
    return step(**{**held, "attempt": 2, **facts})


RELEASED = {"dispatch": 0, "due_at": PAST}
CASES: list[tuple[StepFacts, Queue | None, Reason, str]] = [
    (step(status="ACTIVE", settled_at=PAST), None, Reason.DONE, "It is done, 4.0 s ago."),
    (step(status=REMOVED, removing=True), None, Reason.DONE, "It has been removed."),
    (
        step(status="FAILED", error_code="EMPTY_DOCUMENT", error_message="no text", failures=1),
        None,
        Reason.FAILED,
        "It was given up: EMPTY_DOCUMENT: no text.",
    ),
    (
        step(status="FAILED", error_code="BUSY", error_message="full", failures=4, served=True),
        None,
        Reason.FAILED,
        "It was given up after 4 failures: BUSY: full. Searches still find what was built before.",
    ),
    (step(status="FAILED", error_code="CANCELLED"), None, Reason.CANCELLED, "It was cancelled."),
    (
        working(),
        QUEUE,
        Reason.WORKING,
        "indexer-2 has been working on it for 4.0 s; attempt 2 of 12 at most.",
    ),
    (
        working(lease_until=PAST),
        QUEUE,
        Reason.WORKER_LOST,
        (
            "indexer-2 stopped telling that it works on it and counts as lost, at 11:59:56 UTC; another worker is called"
            " in 12 s."
        ),
    ),
    (
        step(kind="vector", due_at=None, dispatch=0),
        QUEUE,
        Reason.WAITS_FOR_PARSE,
        "It waits for the parse of this document: an index is built from what the parse has read.",
    ),
    (
        step(**RELEASED),
        QUEUE,
        Reason.WAITS_FOR_TURN,
        (
            "It waits for its turn: 32 documents of this owner are in flight (32 at most), it is 3rd of 12 that wait, and"
            " 1 other owner waits too."
        ),
    ),
    (
        step(**RELEASED),
        Queue("indexer-parse", 1, 1, reconcilers=0, pending=0),
        Reason.NO_RECONCILER,
        "It waits for its turn, and no reconciler is there to release it: start one.",
    ),
    (
        step(failures=1, error_code="UPSTREAM_UNAVAILABLE", error_message="away", failed_attempts=[ATTEMPT]),
        QUEUE,
        Reason.RETRY,
        "It failed and is tried again in 12 s (failure 1 of 4): UPSTREAM_UNAVAILABLE: away",
    ),
    (
        step(),
        QUEUE,
        Reason.QUEUED,
        (
            "Its command was published and waits for a free worker: at most 7 commands in indexer-parse, 3 slots of"
            " 2 workers are free."
        ),
    ),
    (
        step(),
        Queue("indexer-parse", workers=0, free=0, reconcilers=1, pending=None),
        Reason.NO_WORKER,
        "No indexer is there: none that works on indexer-parse was seen lately. Start one.",
    ),
    (
        step(),
        Queue("indexer-parse", workers=1, free=1, reconcilers=1, pending=None),
        Reason.NATS_AWAY,
        "NATS does not answer: commands cannot be delivered, and are published again when it is back.",
    ),
    (
        step(due_at=PAST, dispatch=2),
        QUEUE,
        Reason.OVERDUE,
        (
            "Its command was published 2 times and no worker has taken it; it counts as lost, and the reconciler publishes"
            " it again at its next run."
        ),
    ),
    (
        step(due_at=PAST),
        Queue("indexer-parse", 1, 1, reconcilers=0, pending=0),
        Reason.NO_RECONCILER,
        "Its command was published 1 time and is lost, and no reconciler is there to publish it again: start one.",
    ),
]


@pytest.mark.parametrize(("facts", "queue", "reason", "sentence"), CASES, ids=lambda it: getattr(it, "value", ""))
def test_a_step_says_what_it_waits_for(facts: StepFacts, queue: Queue | None, reason: Reason, sentence: str) -> None:
    verdict = decide(facts, turn=TURN, queue=queue)
    assert (verdict.reason, verdict.sentence) == (reason, sentence)


def test_every_reason_but_the_impossible_is_in_the_table() -> None:
    assert {reason for _, _, reason, _ in CASES} == set(Reason) - {Reason.UNKNOWN}


QUEUES = (None, QUEUE, *(Queue("indexer-parse", w, w, r, p) for w, r, p in product((0, 1), (0, 1), (None, 0, 1))))
STATUSES = (*JobStatus, REMOVED, "", "SOMETHING_NEW")


@pytest.mark.parametrize("status", STATUSES)
def test_every_combination_of_facts_gets_a_reason_and_a_sentence(status: str) -> None:
    """Also those that contradict each other: whoever asks what is wrong must not be answered by a failure."""
    times = (None, PAST, SOON)
    noted: tuple[list[Any], ...] = ([], [ATTEMPT], [{"next_try_at": 7}, {}])
    rows = product(("parse", "vector"), (True, False), (0, 1), (0, 3), times, (True, False), times, noted)
    for kind, removing, dispatch, failures, due_at, leased, lease_until, attempts in rows:
        facts = StepFacts(
            kind=kind, status=status, now=NOW, removing=removing, dispatch=dispatch, failures=failures, due_at=due_at,
            leased=leased, lease_until=lease_until, failed_attempts=attempts,
        )  # fmt: skip
        for turn, queue in product((None, TURN), QUEUES):
            verdict = decide(facts, turn=turn, queue=queue)
            assert verdict.sentence
            assert verdict.short
            assert (verdict.reason is Reason.UNKNOWN) <= (status not in {"ACTIVE", "FAILED", REMOVED})
            if status not in {*JobStatus, REMOVED}:
                assert verdict.reason is Reason.UNKNOWN
            assert summary(DocumentFacts("RUNNING", deleted=removing), [(facts, verdict)])


def told(*steps: StepFacts, status: str = "RUNNING", deleted: bool = False) -> str:
    facts = DocumentFacts(status, deleted=deleted)
    return summary(facts, [(it, decide(it, turn=TURN, queue=QUEUE)) for it in steps])


def test_a_document_is_summed_up_in_one_line() -> None:
    built = step(status="ACTIVE", settled_at=PAST, requested=PAST - timedelta(seconds=2))
    blocked = step(kind="vector", dispatch=0, due_at=None)
    retried = step(failures=1, error_code="BUSY", failed_attempts=[ATTEMPT])
    removing = working(status="DELETION_IN_PROGRESS", kind="vector", removing=True)
    gone = step(status=REMOVED, removing=True)
    failed = step(status="FAILED", error_code="EMPTY_DOCUMENT", error_message="no text")
    assert told(step(**RELEASED), blocked) == "waits for its turn: 3rd of 12"
    assert told(working(), blocked) == "parsing since 4.0 s on indexer-2, attempt 2 of 12"
    assert told(retried, blocked) == "parsing failed (BUSY), tried again in 12 s, failure 1 of 4"
    assert told(built, step(kind="vector")) == (
        "building the vector index waits for a free worker: at most 7 commands in indexer-parse"
    )
    assert told(built, built) == "searchable since 4.0 s, after 2.0 s"
    assert told(failed, step(kind="vector", status="FAILED")) == "parsing failed: EMPTY_DOCUMENT: no text"
    assert told(gone, gone, deleted=True) == "deleted; all of it has been removed"
    assert told(gone, removing, deleted=True).startswith("deleted; removing the vector index since 4.0 s")
    assert told(status="UPLOADED") == "waits for the confirmation of its upload"
    assert told(status="EXPIRED").startswith("its upload was not confirmed")


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (-1, "0.0 s"),
        (0.25, "0.2 s"),
        (12, "12 s"),
        (60, "1 min"),
        (65, "1 min 5 s"),
        (7260, "2 h 1 min"),
        (90_000, "1 d 1 h"),
    ],
)
def test_a_time_is_said_as_people_say_it(seconds: float, words: str) -> None:
    assert span(timedelta(seconds=seconds)) == words


def test_positions_are_ordinals() -> None:
    assert [ordinal(n) for n in (1, 2, 3, 4, 11, 12, 13, 21, 111)] == [
        "1st", "2nd", "3rd", "4th", "11th", "12th", "13th", "21st", "111th",
    ]  # fmt: skip


@pytest.mark.parametrize("value", [None, 7, "", "yesterday", [], {}])
def test_a_time_that_is_none_is_nothing(value: object) -> None:
    assert moment(value) is None


def test_the_next_try_is_the_one_that_was_noted_or_else_when_the_row_is_due() -> None:
    noted = {"next_try_at": PAST.isoformat()}
    assert next_try(step(failures=1, failed_attempts=[noted])) == PAST
    assert next_try(step(failures=1)) == SOON
    assert next_try(step(failures=0)) is None


def test_the_open_statuses_are_those_of_the_model() -> None:
    assert all(step(status=status).open == (status in OPEN_STATUSES) for status in STATUSES)
