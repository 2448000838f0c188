"""The worker's side of the engine: what has come is claimed together, worked on, and completed or failed together.

    engine.handle(PARSE, parse, write=write_chunks)      # a kind and its handler
    engine.subscribe(worker)                             # a consume loop for each consumer

A handler works outside any transaction and returns a ``Completion``; what that writes is written in the fenced
transaction that settles the job, or not at all. Whatever a handler raises is recorded on the job.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from aperag_common import errors
from aperag_common.bus import topology
from aperag_common.bus.consume import unexpected_delay
from aperag_common.bus.delivery import Ack, Nak, Settled, Settlement, current_delivery
from aperag_common.bus.worker import ended, guarded, processing
from aperag_common.db.models.base import is_open
from aperag_common.jobs.kind import Wanted
from aperag_common.tasks import end_tasks
from aperag_work import leases
from aperag_work.attempts import SUPERSEDED, Attempts
from aperag_work.claiming import Claims
from aperag_work.completion import Hooks
from aperag_work.database import FAILURES
from aperag_work.handling import AGGREGATES, Handling
from aperag_work.job import Job
from aperag_work.rows import parse_message_id

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from aperag_common.bus.delivery import Delivery
    from aperag_common.bus.specs import ConsumerSpec
    from aperag_common.bus.worker import Worker
    from aperag_common.events.commands import JobCommand
    from aperag_common.jobs.kind import JobKind
    from aperag_common.metrics import Metrics
    from aperag_work.completion import GaveUp, Lock, Write
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.handling import Run
    from aperag_work.leases import Lease
    from aperag_work.policy import WorkPolicy

log = structlog.get_logger(__name__)

SOON = timedelta(seconds=1)


class Engine:
    """Everything a worker process needs to work on jobs.

    ``instance`` is shown as the lease's owner. ``incarnation`` begins every token of this process: whoever has seen the
    process die can have exactly its leases released.
    """

    def __init__(
        self,
        database: Database,
        dispatcher: Dispatcher,
        policy: WorkPolicy,
        metrics: Metrics,
        instance: str,
        *,
        source: str,
        incarnation: str = "",
    ) -> None:
        self.database = database
        self.dispatcher = dispatcher
        self.policy = policy
        self.metrics = metrics
        self.instance = instance
        self.source = source
        self.claims = Claims(database, policy, instance, incarnation=incarnation)
        self.held: dict[str, Job] = {}
        self._handlings: dict[str, Handling] = {}
        self._beating: asyncio.Task[None] | None = None

    def handle(
        self,
        kind: JobKind,
        run: Run,
        *,
        wanted: Wanted = Wanted.PRESENT,
        write: Write | None = None,
        lock: Lock | None = None,
        gave_up: GaveUp | None = None,
        slots: int | None = None,
    ) -> Handling:
        """``write``, ``lock`` and ``gave_up`` are those of ``Hooks``."""
        work = kind.work(wanted)
        attempts = Attempts(self, kind, AGGREGATES.get(kind.aggregate), Hooks(write, lock, gave_up))
        self._handlings[work.subject] = handling = Handling(kind, work, run, attempts, slots or work.slots)
        return handling

    def subscribe(self, worker: Worker) -> None:
        """Declare every handler with its message, and feed them from their consumers."""
        by_consumer: dict[str, list[Handling]] = {}
        for handling in self._handlings.values():
            by_consumer.setdefault(handling.work.consumer, []).append(handling)
        for name, handlings in by_consumer.items():
            spec = topology.consumer(name)
            decoders: dict[str, Callable[[bytes], JobCommand]] = {
                it.work.subject: worker.declared.receive(spec, it.work.subject, it.work.command, self.attempt)
                for it in handlings
            }

            async def work(
                deliveries: Sequence[Delivery],
                spec: ConsumerSpec = spec,
                decoders: Mapping[str, Callable[[bytes], JobCommand]] = decoders,
            ) -> None:
                await self._work(spec, worker, deliveries, decoders)

            worker.add(spec, work, slots=max(it.slots for it in handlings))

    async def start(self, *, predecessor: str = "") -> None:
        """``predecessor`` is the incarnation of a dead process whose place this one takes."""
        if predecessor:
            await self.release_predecessor(predecessor)
        beats = [topology.consumer(it.work.consumer).beat for it in self._handlings.values()]
        beat = min(self.policy.beat.total_seconds(), *beats)
        self._beating = asyncio.create_task(self._beat(beat), name="heartbeat")

    async def stop(self) -> None:
        if self._beating is not None:
            await end_tasks(self._beating)

    def cancel_task(self, workflow_id: str) -> None:
        """A person cancelled this task: stop working on it at once instead of at the next renewal."""
        for job in list(self.held.values()):
            if job.row.workflow_id == workflow_id:
                job.stop()

    async def release_predecessor(self, incarnation: str) -> int:
        """Free what the process held whose place this one has taken; its jobs are claimed again at once."""
        released = await self.claims.release_all(incarnation)
        if released:
            self.dispatcher.wake()
        return released

    async def attempt(self, command: JobCommand, handling: Handling | None = None) -> Settlement:
        """One command, alone: what its message is told."""
        handling = handling or self._handling_of(command)
        asked = self.claims.asked(command.data.row_id, command.data.generation)
        [lease] = await self.claims.claim(handling, [asked])
        if lease is None:
            return await self._why_not(handling, asked, (await self.claims.found([asked])).get(asked.id))
        return await self._run(Job(self, lease), handling)

    async def _work(
        self,
        spec: ConsumerSpec,
        worker: Worker,
        deliveries: Sequence[Delivery],
        decoders: Mapping[str, Callable[[bytes], JobCommand]],
    ) -> None:
        """Groups are claimed side by side: mostly there is one."""
        groups: dict[str, dict[str, Delivery]] = {}
        asked: dict[str, list[leases.ClaimRequest]] = {}
        async with asyncio.TaskGroup() as tasks:
            for delivery in deliveries:
                try:
                    command = decoders[delivery.subject](delivery.raw.data)
                except (ValidationError, KeyError) as err:
                    tasks.create_task(self._invalid(spec, worker, delivery, err))
                    continue
                it = self.claims.asked(command.data.row_id, command.data.generation)
                groups.setdefault(delivery.subject, {})[it.token] = delivery
                asked.setdefault(delivery.subject, []).append(it)
            for subject, of_subject in groups.items():
                tasks.create_task(self._work_group(spec, self._handlings[subject], of_subject, asked[subject]))

    async def _work_group(
        self,
        spec: ConsumerSpec,
        handling: Handling,
        deliveries: Mapping[str, Delivery],
        asked: Sequence[leases.ClaimRequest],
    ) -> None:
        try:
            claimed = await self.claims.claim(handling, asked)
            refused = [it for it, lease in zip(asked, claimed, strict=True) if lease is None]
            found = await self.claims.found(refused) if refused else {}
        except FAILURES as err:
            log.warning("jobs.unclaimed", jobs=len(asked), error=repr(err))
            for delivery in deliveries.values():
                delivery.settle(Nak(unexpected_delay(delivery.number), outcome="error"))
            return
        async with asyncio.TaskGroup() as tasks:
            for lease in claimed:
                if lease is not None:
                    tasks.create_task(self._run_delivery(spec, handling, deliveries[lease.token], lease))
            for it in refused:
                why = self._why_not(handling, it, found.get(it.id))
                tasks.create_task(self._settled(spec, deliveries[it.token], why))

    async def _run_delivery(self, spec: ConsumerSpec, handling: Handling, delivery: Delivery, lease: Lease) -> None:
        job = Job(self, lease)
        structlog.contextvars.bind_contextvars(job_id=job.row.id, kind=job.row.kind, subject_id=job.row.subject_id)
        await self._settled(spec, delivery, self._run(job, handling))

    async def _settled(self, spec: ConsumerSpec, delivery: Delivery, work: Awaitable[Settlement]) -> None:
        current_delivery.set(delivery)
        with processing(spec, delivery) as span:
            settlement = await guarded(delivery, work)
            ended(span, settlement)
        delivery.settle(settlement)

    async def _run(self, job: Job, handling: Handling) -> Settlement:
        """The settle point of an attempt: whatever went wrong is recorded on its job."""
        self.held[job.token] = job
        try:
            async with job.stack:
                completion = await handling.run(job)
                return await handling.attempts.complete(job, completion)
        except Settled as decided:
            return decided.settlement
        except asyncio.CancelledError:
            if job.lost:
                job.task.uncancel()
                return SUPERSEDED
            if not job.task.cancelling():
                job.ending_begun = True  # this worker goes on: something inside the handler let its cancellation out
                return await handling.attempts.fail(job, RuntimeError("the work was cancelled from inside"))
            job.ending_begun = True  # a renewal must not take again what is given back
            await asyncio.shield(self.claims.give_back(job.row.id, job.token))
            raise
        except Exception as err:  # noqa: BLE001  # told to the job, with its stack in the log where nobody foresaw it
            job.ending_begun = True
            return await handling.attempts.fail(job, err)
        finally:
            self.held.pop(job.token, None)

    async def _why_not(
        self, handling: Handling, asked: leases.ClaimRequest, found: leases.Unclaimed | None
    ) -> Settlement:
        if found is None or found.row.generation != asked.generation:
            return SUPERSEDED
        if not is_open(found.row.status):
            return Ack(outcome="settled")
        if found.leased_for > 0:
            # No lease is longer than the policy's, whatever a clock that was set back makes of it.
            return Nak(min(timedelta(seconds=found.leased_for), self.policy.lease), outcome="leased")
        if found.attempt >= self.policy.of_work(handling.work.retry).max_attempts:
            return await handling.attempts.give_up_lost(found)
        return Nak(SOON, outcome="leased")  # open, unleased, attempts left: the lease in the way has ended since

    async def _invalid(self, spec: ConsumerSpec, worker: Worker, delivery: Delivery, err: Exception) -> None:
        """A command that its class refuses fails its job, which its id names; what is no command is kept as poison."""
        named = parse_message_id(delivery.headers.get("Nats-Msg-Id", ""))
        handling = self._handlings.get(delivery.subject)
        if named is None or handling is None:
            await self._settled(spec, delivery, worker.poisoned(delivery, err))
        else:
            await self._settled(spec, delivery, self._fail_invalid(handling, self.claims.asked(*named), err))

    async def _fail_invalid(self, handling: Handling, asked: leases.ClaimRequest, err: Exception) -> Settlement:
        [lease] = await self.claims.claim(handling, [asked])
        if lease is None:
            return await self._why_not(handling, asked, (await self.claims.found([asked])).get(asked.id))
        reason = errors.InvalidMessage(f"the command does not fit its type: {str(err)[:500]}")
        return await handling.attempts.fail(Job(self, lease), reason)

    async def _beat(self, seconds: float) -> None:
        while True:
            await asyncio.sleep(seconds)
            try:
                await self.renew()
            except Exception:  # one renewal that fails must not be the last: nobody else would start them again
                log.exception("leases.renewal_failed")

    async def renew(self) -> None:
        """All leases of this process in one statement; work whose lease is gone is stopped."""
        for job in await self.claims.renew(list(self.held.values())):
            if job.stop():
                self.metrics.lease_lost.labels(job.row.kind).inc()

    def _handling_of(self, command: JobCommand) -> Handling:
        found = [it for it in self._handlings.values() if it.work.command is type(command)]
        if len(found) > 1:
            found = [it for it in found if it.kind.shown == getattr(command.data, "kind", "")]
        return found[0]
