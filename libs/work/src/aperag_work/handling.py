"""How a process works on one direction of a kind, and how its attempts end: completed, tried again or given up."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak, Settlement, current_delivery
from aperag_common.jobs.kind import kind_of
from aperag_common.telemetry import propagate
from aperag_work import dead_letters, outbox, transitions
from aperag_work.aggregate import CompletedAttempt, FailedAttempt
from aperag_work.batching import BLOCKED, Batcher, Blocked
from aperag_work.change import Change
from aperag_work.completion import Completed
from aperag_work.database import AWAY, FAILURES
from aperag_work.failures import as_failure
from aperag_work.policy import NAK_UP_TO, comes_back
from aperag_work.rows import Dispatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from aperag_common.bus.delivery import Delivery
    from aperag_common.jobs.kind import JobKind, Work
    from aperag_work.aggregate import Aggregate
    from aperag_work.completion import Completion, Run, Write
    from aperag_work.database import Connection
    from aperag_work.engine import Engine
    from aperag_work.job import Job
    from aperag_work.leases import Unclaimed
    from aperag_work.transitions import Ended

log = structlog.get_logger(__name__)

MOST_ROWS = 2000
"""Of a shared transaction: every document in it stays locked until all of them are written."""

OUTAGE_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Between tries to complete a job while the database is away: about as long as a lease."""

SUPERSEDED = Ack(outcome="superseded")
"""The work was in vain, and may have failed for that very reason: a delete takes a document's bytes from under it."""


class Handling:
    """One direction of a kind in one process: ``run`` does the work, of ``slots`` jobs at a time.

    As many attempts as end together are ended in one transaction.
    """

    def __init__(
        self,
        engine: Engine,
        kind: JobKind,
        work: Work,
        run: Run,
        *,
        aggregate: Aggregate,
        write: Write | None,
        slots: int,
    ) -> None:
        self.work = work
        self.run = run
        self.aggregate = aggregate
        self.slots = slots
        self._engine = engine
        self._kind = kind
        self._write = write
        self._completing: Batcher[CompletedAttempt, Change | None] = Batcher(
            self._complete_all, weight=lambda it: it.completion.rows, heaviest=MOST_ROWS, unreachable=AWAY
        )
        self._failing: Batcher[FailedAttempt, Change | None] = Batcher(self._fail_all, unreachable=AWAY)

    async def complete(self, job: Job, completion: Completion) -> Settlement:
        """What the message is told. Nothing is written where a newer generation or another worker has taken over."""
        job.ending_begun = True
        done = CompletedAttempt(job.row, job.token, completion, propagate.current_traceparent())
        change = await self._completed(job, done)
        if change is None:
            raise job.superseded()
        if completion.after is not None:
            try:
                await completion.after()
            except Exception:  # the job is completed, whatever comes of this
                log.exception("job.after_failed", job_id=job.row.id)
        return Ack(outcome=completion.outcome)

    async def fail(self, job: Job, err: Exception) -> Settlement:
        """Record the failure and say what becomes of the message; if it cannot be written, the lease will run out."""
        failure, failures = as_failure(err), job.lease.failures + 1
        delay = self._delay(failure, failures)
        failing = FailedAttempt(job.row, job.token, failure, failures, job.attempt, delay, *_of_now())
        try:
            settlement = await self._record(failing)
            if settlement == SUPERSEDED and await self._engine.claims.reclaim(job):
                settlement = await self._record(failing)
        except FAILURES as unrecorded:
            log.warning("failure.unrecorded", job_id=job.row.id, error=repr(unrecorded))
            return Nak(NAK_UP_TO, outcome="error")
        if settlement == SUPERSEDED:
            self._engine.metrics.fence_rejects.labels(self._kind.name).inc()
            log.info("job.failed_in_vain", job_id=job.row.id, error=repr(err))
        elif failure is not err:
            log.error("job.failed_unexpectedly", job_id=job.row.id, exc_info=err)
        return settlement

    async def give_up_lost(self, found: Unclaimed) -> Settlement:
        """Too many workers ended without a word while they held it: ``attempt`` counts what nobody reported."""
        message = f"{found.attempt} workers ended while working on this; it may be too large or harmful"
        lost = errors.WorkerLost(message)
        failing = FailedAttempt(found.row, None, lost, found.failures, found.attempt, None, *_of_now())
        return await self._record(failing)

    async def _completed(self, job: Job, done: CompletedAttempt) -> Change | None:
        """Work that is done is not done again because PostgreSQL restarts meanwhile: its end is written when it is back,
        unless another worker has taken the job over by then.
        """
        for seconds in OUTAGE_SECONDS:
            try:
                return await self._complete_once(job, done)
            except AWAY as err:
                log.warning("job.completion_delayed", job_id=job.row.id, error=repr(err))
                await asyncio.sleep(seconds)
        return await self._complete_once(job, done)

    async def _complete_once(self, job: Job, done: CompletedAttempt) -> Change | None:
        change = await self._deliver(self._completing.submit(done))
        if change is None and await self._engine.claims.reclaim(job):
            change = await self._deliver(self._completing.submit(done))
        return change

    def _delay(self, failure: errors.ApeRAGError, failures: int) -> timedelta | None:
        policy = self._engine.policy.of_work(self.work.retry)
        if isinstance(failure, errors.Terminal) or failures >= policy.max_failures:
            return None
        asked = failure.retry_after if isinstance(failure, errors.Retryable) else None
        # What is due later than any policy says counts as set by a clock that was wrong.
        return policy.retry_delay(failures) if asked is None else min(asked, policy.max_due)

    async def _record(self, failing: FailedAttempt) -> Settlement:
        change = await self._deliver(self._failing.submit(failing))
        if change is None:
            return SUPERSEDED
        failure, delay = failing.failure, failing.delay
        if delay is None and change.events:
            if failure.dead_letter:
                self._engine.metrics.dead_letters.labels(failure.error_code).inc()
            log.warning("job.failed", job_id=failing.row.id, code=failure.error_code, error=failure.message)
        else:  # given up without an event, it was wanted again meanwhile and begins anew
            log.warning("job.retried", job_id=failing.row.id, failures=failing.failures, error=failure.message)
        if delay is None:
            return Ack(outcome="failed")
        if self._kind.by_due_time:
            self._engine.dispatcher.wake_in(delay)
        return Nak(delay, outcome="retry") if comes_back(self._kind, delay) else Ack(outcome="retry_later")

    async def _deliver(self, ending: asyncio.Future[Change | None]) -> Change | None:
        try:
            change = await asyncio.shield(ending)
        except asyncio.CancelledError:
            # At shutdown; what may be committed by then is told to the others all the same.
            await asyncio.wait([ending])
            if not ending.cancelled() and ending.exception() is None and (late := ending.result()) is not None:
                self._engine.dispatcher.deliver(late)
            raise
        if change is not None:
            self._engine.dispatcher.deliver(change)
        return change

    async def _complete_all(self, done: Sequence[CompletedAttempt]) -> list[Change | Blocked | None]:
        """A job whose subject somebody else holds is not waited for, where others would wait with it."""
        alone = len(done) == 1
        async with self._engine.database.durable.transaction() as conn:
            locked = await self.aggregate.lock(conn, [it.row for it in done], wait=alone)
            free = [it for it in done if it.row.subject_id in locked]
            first_due = self._engine.policy.first_due
            completed = await self.aggregate.complete(conn, free, locked, first_due=first_due)
            extra = await self._extra(conn, [it for it in free if it.token in completed.tokens])
            effects = await completed.apply_effects(conn, source=self._engine.source)
        changes = {token: change.joined(extra[token]) for token, change in effects.items()}
        missing = None if alone else BLOCKED
        return [changes.get(it.token) if it.row.subject_id in locked else missing for it in done]

    async def _extra(self, conn: Connection, fenced: Sequence[CompletedAttempt]) -> Mapping[str, Change]:
        """What the completions themselves write, by token: rows of the kind, events, jobs that follow."""
        if fenced and self._write is not None:
            await self._write(conn, [Completed(it.row, it.completion.result) for it in fenced])
        extra: dict[str, Change] = {}
        for it in fenced:
            events = tuple(outbox.event(message, it.traceparent) for message in it.completion.events)
            extra[it.token] = Change(await self._follow(conn, it), events)
        await outbox.add(conn, [event for change in extra.values() for event in change.events])
        return extra

    async def _follow(self, conn: Connection, done: CompletedAttempt) -> tuple[Dispatch, ...]:
        commands: list[Dispatch] = []
        first_due, traceparent = self._engine.policy.first_due, done.row.traceparent
        for wish in done.completion.follow_up:
            kind = kind_of(wish.kind)
            made = await transitions.want(conn, kind, [wish], first_due=first_due, traceparent=traceparent)
            commands += [Dispatch(row, self._engine.source) for row, leased in made if not leased]
        return tuple(commands)

    async def _fail_all(self, failing: Sequence[FailedAttempt]) -> list[Change | Blocked | None]:
        """What is only tried again needs no lock but that of its job."""
        alone = len(failing) == 1
        given_up = [it.row for it in failing if it.delay is None]
        async with self._engine.database.durable.transaction() as conn:
            locked = await self.aggregate.lock(conn, given_up, wait=alone) if given_up else {}
            free = [it for it in failing if it.delay is not None or it.row.subject_id in locked]
            ended = await transitions.end(conn, self._kind, free, first_due=self._engine.policy.first_due)
            changes = {
                it: None if end is None else await self._change(conn, it, end, locked)
                for it, end in zip(free, ended, strict=True)
            }
        missing = None if alone else BLOCKED
        return [changes.get(it, missing) for it in failing]

    async def _change(self, conn: Connection, failed: FailedAttempt, ended: Ended, locked: Mapping[str, Any]) -> Change:
        source = self._engine.source
        if failed.delay is not None or ended.again:
            return ended.change(source)
        change = await self.aggregate.gave_up(conn, failed, locked[failed.row.subject_id], source=source)
        if not failed.failure.dead_letter:
            return change
        letter = dead_letters.letter_of_attempt(failed, worker=ended.worker)
        return change.joined(Change((), (await dead_letters.add_with_event(conn, letter, source=source),)))


def _of_now() -> tuple[str | None, Delivery | None]:
    """The trace and the delivery of the attempt that is under way: others may share its transaction."""
    return propagate.current_traceparent(), current_delivery.get()
