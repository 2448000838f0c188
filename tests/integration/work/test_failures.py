"""How an attempt that failed ends: tried again in time, or given up with a dead letter and its reason."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from structlog.testing import capture_logs

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.events.fact import TurnEndedData
from aperag_common.events.turns import TurnFailed
from aperag_common.jobs.declared import PARSE, TURN
from aperag_common.jobs.kind import Wanted
from aperag_common.telemetry import propagate
from aperag_testing.jobs import order
from aperag_testing.steps import Gate, attempt, until_blocked
from aperag_testing.waiting import until
from aperag_work.document_rows import lock_all
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_testing.steps import MakeWorker, Steps
    from aperag_work.aggregate import FailedAttempt
    from aperag_work.completion import Completion
    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.job import Job
    from aperag_work.rows import Dispatch

SUPERSEDED = Ack(outcome="superseded")
POLICY = WorkPolicy()
LOST = "UPDATE job SET lease_token = 'x', lease_owner = 'dead', lease_until = clock_timestamp(), attempt = :attempt"


def fails(error: Exception) -> Callable[[Job], Awaitable[None]]:
    async def during(_: Job) -> None:
        raise error

    return during


async def test_a_passing_failure_is_tried_again_and_its_reason_is_on_the_job(steps: Steps, ordered: Dispatch) -> None:
    answer = await steps.work(ordered.message, during=fails(errors.Busy("no room")))
    assert isinstance(answer, Nak)
    assert timedelta(seconds=1) <= answer.delay <= timedelta(seconds=1.2)
    after: Any = await steps.job(ordered.row.id)
    assert (after.status, after.failures, after.attempt, after.lease_token) == (ordered.row.status, 1, 1, None)
    assert (after.error_code, after.error_message) == ("BUSY", "no room")
    [failed] = after.failed_attempts
    assert (failed["attempt"], failed["worker"], failed["code"]) == (1, "worker-1", "BUSY")
    assert datetime.fromisoformat(failed["ended"]) < datetime.fromisoformat(failed["next_try_at"]) <= after.due_at

    async def seen(job: Job) -> None:
        assert (await steps.job(job.row.id)).failed_attempts == [failed]  # type: ignore[union-attr]

    assert await steps.work(ordered.message, during=seen) == Ack()


@pytest.mark.parametrize("superseded", [False, True])
async def test_an_unforeseen_error_is_logged_with_its_stack_unless_the_work_was_in_vain(
    steps: Steps, ordered: Dispatch, *, superseded: bool
) -> None:
    async def during(_: Job) -> None:
        if superseded:
            await steps.change("UPDATE job SET generation = generation + 1, lease_token = NULL")
        message = "secret-42"
        raise RuntimeError(message)

    with capture_logs() as lines:
        answer = await steps.work(ordered.message, during=during)
    assert answer.outcome == ("superseded" if superseded else "retry")
    events = {it["event"]: it["log_level"] for it in lines}
    assert events.get("job.failed_unexpectedly") == (None if superseded else "error")
    assert events.get("job.failed_in_vain") == ("info" if superseded else None)
    after: Any = await steps.job(ordered.row.id)
    assert after.error_code == (None if superseded else "UNEXPECTED")
    assert "secret-42" not in (after.error_message or "")


async def test_a_long_delay_is_left_to_the_redrive(
    steps: Steps, job_database: Database, dispatcher: Dispatcher, ordered: Dispatch
) -> None:
    slow = errors.RateLimited("later", retry_after=timedelta(seconds=42))
    assert await steps.work(ordered.message, during=fails(slow)) == Ack(outcome="retry_later")
    assert 30 < (await steps.job(ordered.row.id)).due_in <= 42  # type: ignore[union-attr]
    redrive = Redrive(job_database, dispatcher, POLICY)
    assert await redrive.take(limit=10) == []
    await steps.change("UPDATE job SET due_at = clock_timestamp() WHERE id = :id", id=ordered.row.id)
    [again] = await redrive.take(limit=10)
    assert (again.id, again.generation, again.dispatch) == (ordered.row.id, ordered.row.generation, 2)


async def test_no_delay_asked_for_is_longer_than_a_clock_set_back_can_be_told_from(
    steps: Steps, job_database: Database, dispatcher: Dispatcher, ordered: Dispatch
) -> None:
    for_ever = errors.RateLimited("tomorrow", retry_after=timedelta(days=1))
    await steps.work(ordered.message, during=fails(for_ever))
    assert await Redrive(job_database, dispatcher, POLICY).pull_in() == 0
    assert (await steps.job(ordered.row.id)).due_in <= POLICY.max_due.total_seconds()  # type: ignore[union-attr]


@pytest.mark.parametrize(
    ("failures", "error", "code"),
    [
        (1, errors.Busy("no room"), "BUSY"),
        (4, errors.Busy("no room"), "BUSY"),
        (4, errors.Gone("gone"), "GONE"),
        (1, RuntimeError("unforeseen"), "UNEXPECTED"),
    ],
    ids=["the first of one", "the last of four", "terminal", "unforeseen"],
)
async def test_a_final_failure_leaves_one_dead_letter_and_its_event(
    steps: Steps,
    make_worker: MakeWorker,
    metrics: Metrics,
    ordered: Dispatch,
    failures: int,
    error: Exception,
    code: str,
) -> None:
    row = ordered.row
    worker = make_worker(policy=WorkPolicy(retries={row.work.retry: WorkPolicy(max_failures=failures)}))
    tries = 1 if isinstance(error, errors.Terminal) else failures
    for _ in range(tries - 1):
        assert isinstance(await steps.work(ordered.message, by=worker, during=fails(error)), Nak)
    assert await steps.work(ordered.message, by=worker, during=fails(error)) == Ack(outcome="failed")
    after: Any = await steps.job(row.id)
    assert (after.status, after.observed_generation, after.failures) == ("FAILED", row.generation, tries)
    assert (after.error_code, after.due_in, after.lease_token) == (code, float("inf"), None)
    [letter] = await steps.rows("SELECT * FROM dead_letter")
    assert (letter.kind, letter.row_id, letter.generation) == (row.declared.shown, row.id, row.generation)
    assert (letter.owner, letter.collection_id, letter.workflow_id) == (row.owner, row.collection_id, row.workflow_id)
    assert letter.document_id == (row.subject_id if row.declared.aggregate == "document" else None)
    assert (letter.code, letter.attempt, letter.failures, letter.worker) == (code, tries, tries, "worker-1")
    told = "SELECT payload->'data'->>'dead_letter_id' FROM outbox WHERE payload->>'type' = 'step.dead_lettered'"
    assert await steps.column(told) == [str(letter.id)]
    assert metrics.registry.get_sample_value("aperag_dead_letters_total", {"code": code}) == 1
    assert await steps.work(ordered.message) == Ack(outcome="settled")


async def test_what_the_documents_owner_must_settle_leaves_no_dead_letter(
    steps: Steps, metrics: Metrics, engine: AsyncEngine
) -> None:
    async with engine.begin() as conn:
        ordered = await order(conn, PARSE, Wanted.PRESENT)
    missing = errors.OcrMissing("install tesseract")
    assert await steps.work(ordered.message, during=fails(missing)) == Ack(outcome="failed")
    after: Any = await steps.job(ordered.row.id)
    assert (after.status, after.error_code) == ("FAILED", "OCR_MISSING")
    assert await steps.rows("SELECT * FROM dead_letter") == []
    assert await steps.rows("SELECT * FROM outbox WHERE payload->>'type' = 'step.dead_lettered'") == []
    assert metrics.registry.get_sample_value("aperag_dead_letters_total", {"code": "OCR_MISSING"}) is None


async def test_workers_that_die_use_the_job_up_and_those_who_see_it_at_once_leave_one_letter(
    steps: Steps, make_worker: MakeWorker, ordered: Dispatch
) -> None:
    mortal = WorkPolicy(retries={ordered.row.work.retry: WorkPolicy(max_attempts=2)})
    await steps.change(f"{LOST} WHERE id = :id", attempt=2, id=ordered.row.id)
    workers = [make_worker(f"worker-{n}", mortal) for n in range(3)]
    answers = await asyncio.gather(*(steps.work(ordered.message, by=worker) for worker in workers))
    assert Ack(outcome="failed") in answers
    assert (await steps.job(ordered.row.id)).error_code == "WORKER_LOST"  # type: ignore[union-attr]
    assert await steps.column("SELECT code FROM dead_letter") == ["WORKER_LOST"]


async def test_a_job_is_given_up_also_when_its_last_attempt_reported_an_error(
    steps: Steps, make_worker: MakeWorker, ordered: Dispatch
) -> None:
    """A reported error leaves no lease, so nothing but the count of attempts tells that it is over."""
    mortal = make_worker(policy=WorkPolicy(max_attempts=2))
    await steps.change(f"{LOST} WHERE id = :id", attempt=1, id=ordered.row.id)
    assert isinstance(await steps.work(ordered.message, by=mortal, during=fails(errors.Busy("no room"))), Nak)
    assert await steps.work(ordered.message, by=mortal) == Ack(outcome="failed")
    assert (await steps.job(ordered.row.id)).status == "FAILED"  # type: ignore[union-attr]


async def test_a_renewal_that_meets_a_failure_being_recorded_leaves_it_alone(engine: AsyncEngine, steps: Steps) -> None:
    upload = await steps.upload()
    [command] = upload.commands
    held: list[Job] = []

    async def during(job: Job) -> None:
        held.append(job)
        message = "nothing reads this"
        raise errors.UnsupportedMedia(message)

    async with engine.begin() as conn:
        await lock_all(conn, [upload.document_id])
        told = asyncio.create_task(steps.work(command.message, during=during))
        await until_blocked(engine)
        await steps.change("UPDATE job SET lease_token = 'other' WHERE id = :id", id=command.row.id)
        await steps.worker.renew()
    assert await told == SUPERSEDED
    assert not held[0].lost


async def test_a_failure_that_cannot_be_recorded_brings_the_message_back(steps: Steps, ordered: Dispatch) -> None:
    """The lease runs out, and the attempt is noted by the next claim."""

    async def during(_: Job) -> None:
        await steps.change("ALTER TABLE job RENAME TO job_away")
        message = "no room"
        raise errors.Busy(message)

    answer = await steps.work(ordered.message, during=during)
    assert isinstance(answer, Nak)
    assert answer.outcome == "error"
    await steps.change("ALTER TABLE job_away RENAME TO job")
    await steps.change("UPDATE job SET lease_until = clock_timestamp() WHERE id = :id", id=ordered.row.id)
    assert await steps.work(ordered.message) == Ack()


async def test_a_reason_that_quotes_a_broken_document_can_be_recorded(steps: Steps, ordered: Dispatch) -> None:
    broken = errors.CorruptDocument("expected a blank, not '\x00\ud800' at 1:3 " + "x" * 10_000)
    assert await steps.work(ordered.message, during=fails(broken)) == Ack(outcome="failed")
    after: Any = await steps.job(ordered.row.id)
    assert (after.status, after.error_code) == ("FAILED", "CORRUPT_DOCUMENT")
    assert after.error_message.startswith("expected a blank, not '\ufffd\ufffd' at 1:3")


async def test_a_new_generation_starts_with_a_clean_history(steps: Steps) -> None:
    upload = await steps.upload()
    [command] = upload.commands
    await steps.work(command.message, during=fails(errors.UnsupportedMedia("nothing reads this")))
    assert len((await steps.job(command.row.id)).failed_attempts) == 1  # type: ignore[union-attr]
    await steps.delete(upload.document_id)
    after: Any = await steps.job(command.row.id)
    assert (after.failed_attempts, after.worker, after.attempt, after.failures) == ([], None, 0, 0)
    assert (after.error_code, after.started_at, after.settled_at) == (None, None, None)


async def test_failures_that_come_together_are_recorded_each_with_its_own_reason(
    engine: AsyncEngine, steps: Steps
) -> None:
    """They share a transaction, unless one of their documents is locked."""
    uploads = [await steps.upload() for _ in range(3)]
    commands = [upload.commands[0] for upload in uploads]
    gate = Gate()

    def during(number: int) -> Callable[[Job], Awaitable[None]]:
        async def broken(_: Job) -> None:
            await gate()
            message = f"reason {number}"
            raise errors.CorruptDocument(message)

        return broken

    async with engine.begin() as conn:
        await lock_all(conn, [uploads[0].document_id])
        tasks = [asyncio.create_task(steps.work(it.message, during=during(n))) for n, it in enumerate(commands)]
        await gate.until_reached()
        gate.open()
        async with asyncio.timeout(30):
            assert await asyncio.gather(*tasks[1:]) == [Ack(outcome="failed")] * 2
        assert not tasks[0].done()
    assert await tasks[0] == Ack(outcome="failed")
    letters = await steps.rows("SELECT row_id, message FROM dead_letter")
    assert {letter.row_id: letter.message for letter in letters} == {
        it.row.id: f"reason {n}" for n, it in enumerate(commands)
    }


async def test_jobs_that_are_given_up_together_are_told_each_in_its_own_trace(
    engine: AsyncEngine, steps: Steps, job_database: Database, dispatcher: Dispatcher, metrics: Metrics
) -> None:
    """The trace of a transaction that they share is that of one of them."""
    worker = Engine(job_database, dispatcher, POLICY, metrics, "worker-1", source="agent")
    first, begun = Gate(), []

    async def run(job: Job) -> Completion:
        begun.append(job)
        raise errors.Gone("there is no model")

    async def gave_up(_: Connection, failed: FailedAttempt) -> list[TurnFailed]:
        await first()
        data = TurnEndedData(turn_id=failed.row.subject_id, chat_id="chat", outcome="failed")
        return [TurnFailed.of(data, source="agent", subject=failed.row.subject_id, owner=failed.row.owner)]

    worker.handle(TURN, run, gave_up=gave_up)
    async with engine.begin() as conn:
        turns = [await order(conn, TURN) for _ in range(4)]
    traces = {turn.row.subject_id: f"{number:032x}" for number, turn in enumerate(turns, start=1)}
    tasks = []
    for turn in turns:
        traceparent = f"00-{traces[turn.row.subject_id]}-b7ad6b7169203331-01"
        tasks.append(asyncio.create_task(attempt(worker, turn.message, traceparent=traceparent)))
        await first.until_reached()  # the others wait for the first one's transaction, and share the next

    async def all_begun() -> bool:
        return len(begun) == len(turns)

    await until(all_begun, every=0.02)
    first.open()
    assert await asyncio.gather(*tasks) == [Ack(outcome="failed")] * len(turns)
    told = await steps.rows("SELECT payload ->> 'subject' AS subject, traceparent FROM outbox")
    assert len(told) == 2 * len(turns)
    letters = await steps.rows("SELECT j.subject_id, l.traceparent FROM dead_letter l JOIN job j ON j.id = l.row_id")
    subjects = {turn.row.id: turn.row.subject_id for turn in turns}
    for subject, traceparent in [*told, *letters]:
        assert propagate.trace_id_of(traceparent) == traces[subjects.get(subject, subject)]
