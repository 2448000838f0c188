"""How attempts at jobs of one kind end: completed, tried again or given up, as many together as end together."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import structlog

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak, Settlement, current_delivery
from aperag_common.telemetry import propagate
from aperag_work import dead_letters, outbox, transitions
from aperag_work.aggregate import CompletedAttempt, FailedAttempt
from aperag_work.batching import BLOCKED, Batcher, Blocked
from aperag_work.change import Change
from aperag_work.completion import Completed
from aperag_work.database import AWAY, FAILURES
from aperag_work.failures import as_failure
from aperag_work.policy import LEASE_SLACK, NAK_UP_TO
from aperag_work.rows import Dispatch

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import timedelta

    from aperag_common.jobs.kind import JobKind
    from aperag_work.aggregate import Aggregate
    from aperag_work.completion import Completion, Hooks
    from aperag_work.database import Connection
    from aperag_work.engine import Engine
    from aperag_work.job import Job
    from aperag_work.leases import Unclaimed
    from aperag_work.policy import WorkPolicy

log = structlog.get_logger(__name__)

MOST_ROWS = 2000
"""Of a shared transaction: every document in it stays locked until all of them are written."""

OUTAGE_SECONDS = (0.5, 1.0, 2.0, 4.0, 8.0, 15.0)
"""Between tries to complete a job while the database is away: about as long as a lease."""

SUPERSEDED = Ack(outcome="superseded")
"""The work was in vain, and may have failed for that very reason: a delete takes a document's bytes from under it."""


@dataclass(frozen=True, slots=True)
class _Asked:
    ending: CompletedAttempt
    completion: Completion


class Attempts:
    """Of one direction of a kind, in one process."""

    def __init__(self, engine: Engine, kind: JobKind, aggregate: Aggregate | None, hooks: Hooks) -> None:
        self._engine = engine
        self._kind = kind
        self._aggregate = aggregate
        self._hooks = hooks
        self._completing: Batcher[_Asked, Change | None] = Batcher(
            self._complete_all, weight=lambda it: it.completion.rows, heaviest=MOST_ROWS, unreachable=AWAY
        )
        self._retrying: Batcher[tuple[FailedAttempt, timedelta], Change | None] = Batcher(
            self._retry_all, unreachable=AWAY
        )
        self._giving_up: Batcher[FailedAttempt, Change | None] = Batcher(self._give_up_all, unreachable=AWAY)

    async def complete(self, job: Job, completion: Completion) -> Settlement:
        """What the message is told. Nothing is written where a newer generation or another worker has taken over."""
        job.ending_begun = True
        asked = _Asked(
            CompletedAttempt(job.row, job.token, completion.served, propagate.current_traceparent()), completion
        )
        change = await self._completed(job, asked)
        if change is None:
            raise job.superseded()
        if completion.after is not None:
            try:
                await completion.after()
            except Exception:  # the job is completed, whatever comes of this
                log.exception("job.after_failed", job_id=job.row.id)
        return Ack(outcome=completion.outcome)

    async def _completed(self, job: Job, asked: _Asked) -> Change | None:
        """Work that is done is not done again because PostgreSQL restarts meanwhile: its end is written when it is back,
        unless another worker has taken the job over by then.
        """
        for seconds in OUTAGE_SECONDS:
            try:
                return await self._complete_once(job, asked)
            except AWAY as err:
                log.warning("job.completion_delayed", job_id=job.row.id, error=repr(err))
                await asyncio.sleep(seconds)
        return await self._complete_once(job, asked)

    async def _complete_once(self, job: Job, asked: _Asked) -> Change | None:
        change = await self._deliver(self._completing.submit(asked))
        if change is None and await self._engine.claims.reclaim(job):
            change = await self._deliver(self._completing.submit(asked))
        return change

    async def fail(self, job: Job, err: Exception) -> Settlement:
        """Record the failure and say what becomes of the message; if it cannot be written, the lease will run out."""
        failure = as_failure(err)
        failures = job.lease.failures + 1
        policy = self._engine.policy.of_work(job.row.work.retry)
        failing = FailedAttempt(
            job.row,
            job.token,
            failure,
            failures,
            job.attempt,
            propagate.current_traceparent(),
            current_delivery.get(),
        )
        try:
            settlement = await self._record(failing, policy)
            if settlement == SUPERSEDED and await self._engine.claims.reclaim(job):
                settlement = await self._record(failing, policy)
        except FAILURES as unrecorded:
            log.warning("failure.unrecorded", job_id=job.row.id, error=repr(unrecorded))
            return Nak(NAK_UP_TO, outcome="error")
        if settlement == SUPERSEDED:
            self._engine.metrics.fence_rejects.labels(self._kind.name).inc()
            log.info("job.failed_in_vain", job_id=job.row.id, error=repr(err))
        elif failure is not err:
            log.error("job.failed_unexpectedly", job_id=job.row.id, exc_info=err)
        return settlement

    async def _record(self, failing: FailedAttempt, policy: WorkPolicy) -> Settlement:
        failure = failing.failure
        if isinstance(failure, errors.Terminal) or failing.failures >= policy.max_failures:
            return await self._given_up(failing)
        asked = failure.retry_after if isinstance(failure, errors.Retryable) else None
        # What is due later than any policy says counts as set by a clock that was wrong.
        delay = policy.retry_delay(failing.failures) if asked is None else min(asked, policy.max_due)
        return await self._tried_again(failing, delay)

    async def give_up_lost(self, found: Unclaimed) -> Settlement:
        """Too many workers ended without a word while they held it: ``attempt`` counts what nobody reported."""
        message = f"{found.attempt} workers ended while working on this; it may be too large or harmful"
        traceparent, delivery = propagate.current_traceparent(), current_delivery.get()
        lost = errors.WorkerLost(message)
        failing = FailedAttempt(found.row, None, lost, found.failures, found.attempt, traceparent, delivery)
        return await self._given_up(failing)

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

    async def _tried_again(self, failing: FailedAttempt, delay: timedelta) -> Settlement:
        change = await self._deliver(self._retrying.submit((failing, delay)))
        if change is None:
            return SUPERSEDED
        log.warning("job.retried", job_id=failing.row.id, failures=failing.failures, error=failing.failure.message)
        if self._kind.by_due_time:
            self._engine.dispatcher.wake_in(delay)
            return Ack(outcome="retry_later")
        return Nak(delay, outcome="retry") if delay <= NAK_UP_TO else Ack(outcome="retry_later")

    async def _given_up(self, failing: FailedAttempt) -> Settlement:
        change = await self._deliver(self._giving_up.submit(failing))
        if change is None:
            return SUPERSEDED
        failure = failing.failure
        if change.events:
            if failure.dead_letter:
                self._engine.metrics.dead_letters.labels(failure.error_code).inc()
            log.warning("job.failed", job_id=failing.row.id, code=failure.error_code, error=failure.message)
        else:  # no dead letter: it was wanted again meanwhile, and begins anew
            log.warning("job.retried", job_id=failing.row.id, failures=failing.failures, error=failure.message)
        return Ack(outcome="failed")

    async def _complete_all(self, asked: Sequence[_Asked]) -> list[Change | Blocked | None]:
        """A job whose document somebody else holds is not waited for, where others would wait with it."""
        async with self._engine.database.durable.transaction() as conn:
            if self._aggregate is not None:
                return await self._complete_of_aggregate(conn, self._aggregate, asked)
            if self._hooks.lock is not None:
                await self._hooks.lock(conn, [it.ending.row for it in asked])
            first_due = self._engine.policy.first_due
            ended = await transitions.complete(conn, self._kind, [it.ending for it in asked], first_due=first_due)
            fenced = [it for it, found in zip(asked, ended, strict=True) if found is not None]
            extra = await self._extra(conn, fenced)
        return [
            None if found is None else _change(found, extra[it.ending.token], self._engine.source)
            for it, found in zip(asked, ended, strict=True)
        ]

    async def _complete_of_aggregate(
        self, conn: Connection, aggregate: Aggregate, asked: Sequence[_Asked]
    ) -> list[Change | Blocked | None]:
        alone = len(asked) == 1
        locked = await aggregate.lock(conn, [it.ending.row.subject_id for it in asked], wait=alone)
        free = [it for it in asked if it.ending.row.subject_id in locked]
        completed = await aggregate.complete(
            conn, [it.ending for it in free], locked, first_due=self._engine.policy.first_due
        )
        extra = await self._extra(conn, [it for it in free if it.ending.token in completed.tokens])
        concluded = await completed.apply_effects(conn, source=self._engine.source)
        changes = {token: change.joined(extra[token]) for token, change in concluded.items()}
        missing = None if alone else BLOCKED
        return [changes.get(it.ending.token) if it.ending.row.subject_id in locked else missing for it in asked]

    async def _extra(self, conn: Connection, fenced: Sequence[_Asked]) -> Mapping[str, Change]:
        """What the completions themselves write, by token: rows of the kind, events, jobs that follow."""
        if fenced and self._hooks.write is not None:
            await self._hooks.write(conn, [Completed(it.ending.row, it.completion.result) for it in fenced])
        extra: dict[str, Change] = {}
        for it in fenced:
            events = tuple(outbox.event(message, it.ending.traceparent) for message in it.completion.events)
            extra[it.ending.token] = Change(await self._follow(conn, it), events)
        await outbox.add(conn, [event for change in extra.values() for event in change.events])
        return extra

    async def _follow(self, conn: Connection, asked: _Asked) -> tuple[Dispatch, ...]:
        commands: list[Dispatch] = []
        for follow_up in asked.completion.follow_up:
            made = await transitions.want(
                conn,
                follow_up.kind,
                [follow_up.wish],
                first_due=self._engine.policy.first_due,
                traceparent=asked.ending.row.traceparent,
            )
            commands += [Dispatch(row, self._engine.source) for row, leased in made if not leased]
        return tuple(commands)

    async def _retry_all(self, asked: Sequence[tuple[FailedAttempt, timedelta]]) -> list[Change | None]:
        # A nak brings the message back by itself; the job is overdue only when that did not happen.
        by_nak = {delay for _, delay in asked if delay <= NAK_UP_TO and not self._kind.by_due_time}
        delays = [(delay, delay + LEASE_SLACK if delay in by_nak else delay) for _, delay in asked]
        async with self._engine.database.durable.acquire() as conn:
            ended = await transitions.retry(
                conn,
                self._kind,
                [failing for failing, _ in asked],
                delays,
                first_due=self._engine.policy.first_due,
            )
        return [None if found is None else _change(found, Change(), self._engine.source) for found in ended]

    async def _give_up_all(self, asked: Sequence[FailedAttempt]) -> list[Change | Blocked | None]:
        changes: list[Change | Blocked | None] = []
        async with self._engine.database.durable.transaction() as conn:
            alone = len(asked) == 1
            locked: Mapping[str, Any] = {}
            if self._aggregate is not None:
                locked = await self._aggregate.lock(conn, [it.row.subject_id for it in asked], wait=alone)
            for failing in asked:
                if self._aggregate is not None and failing.row.subject_id not in locked and not alone:
                    changes.append(BLOCKED)
                else:
                    changes.append(await self._give_up(conn, failing, locked))
        return changes

    async def _give_up(self, conn: Connection, failing: FailedAttempt, locked: Mapping[str, Any]) -> Change | None:
        source, first_due = self._engine.source, self._engine.policy.first_due
        if self._aggregate is not None:
            found = await self._aggregate.fail(conn, failing, locked, source=source, first_due=first_due)
            if found is None:
                return None
            change, worker = found
        else:
            ended = await transitions.give_up(conn, self._kind, failing, first_due=first_due)
            if ended is None:
                return None
            change, worker = _change(ended, Change(), source), ended.worker
            if ended.again:
                return change
            if self._hooks.gave_up is not None:
                told = await outbox.record(conn, *await self._hooks.gave_up(conn, failing))
                change = change.joined(Change((), told))
        if not failing.failure.dead_letter:
            return change
        letter = dead_letters.letter_of_attempt(failing, worker=worker)
        lettered = await dead_letters.add_with_event(conn, letter, source=source)
        return change.joined(Change((), (lettered,)))


def _change(ended: transitions.Ended, extra: Change, source: str) -> Change:
    commands = (Dispatch(ended.row, source),) if ended.again else ()
    return Change(commands, settled=True).joined(extra)
