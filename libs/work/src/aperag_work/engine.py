"""The worker's side of the engine: what has come is claimed together, worked on, and completed or failed together.

    engine.handle(PARSE, parse, write=write_chunks)      # a kind and its handler
    engine.subscribe(worker)                             # a consume loop for each consumer

A handler works outside any transaction and returns a ``Completion``; what that writes is written in the fenced
transaction that settles the job, or not at all. Whatever a handler raises is recorded on the job.
"""

from __future__ import annotations

import asyncio
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

import structlog
from pydantic import ValidationError

from aperag_common import errors
from aperag_common.bus import topology
from aperag_common.bus.consume import unexpected_delay
from aperag_common.bus.delivery import Ack, Nak, Settled, Settlement
from aperag_common.bus.worker import settle
from aperag_common.db.models.base import is_open
from aperag_common.jobs.kind import Wanted
from aperag_common.tasks import end_tasks, repeat
from aperag_work.claiming import Claims
from aperag_work.database import FAILURES
from aperag_work.documents import Documents
from aperag_work.failures import record_poison
from aperag_work.handling import SUPERSEDED, Handling
from aperag_work.independent import Independent
from aperag_work.job import Job
from aperag_work.rows import parse_message_id

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from aperag_common.bus.delivery import Delivery
    from aperag_common.bus.specs import ConsumerSpec
    from aperag_common.bus.worker import Worker
    from aperag_common.jobs.kind import JobKind
    from aperag_common.metrics import Metrics
    from aperag_work import leases
    from aperag_work.aggregate import Aggregate
    from aperag_work.completion import GaveUp, Lock, Run, Write
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.leases import Lease
    from aperag_work.policy import WorkPolicy

log = structlog.get_logger(__name__)

AGGREGATES: Mapping[str, Aggregate] = {Documents.name: Documents()}
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
        """``lock`` and ``gave_up`` are for kinds that have no aggregate."""
        work = kind.work(wanted)
        aggregate = AGGREGATES.get(kind.aggregate) or Independent(kind, lock, gave_up)
        handling = Handling(self, kind, work, run, aggregate=aggregate, write=write, slots=slots or work.slots)
        self._handlings[work.subject] = handling
        return handling

    def subscribe(self, worker: Worker) -> None:
        """Declare every handler with its message, and feed them from their consumers."""
        by_consumer: dict[str, list[Handling]] = {}
        for handling in self._handlings.values():
            by_consumer.setdefault(handling.work.consumer, []).append(handling)
        for name, handlings in by_consumer.items():
            spec = topology.consumer(name)
            for it in handlings:
                worker.declared.receive(spec, it.work.subject, it.work.command)
            worker.add(spec, partial(self.work, spec), slots=max(it.slots for it in handlings))

    async def start(self, *, predecessor: str = "") -> None:
        """``predecessor`` is the incarnation of a dead process whose place this one takes."""
        if predecessor:
            await self.release_predecessor(predecessor)
        beats = [topology.consumer(it.work.consumer).beat for it in self._handlings.values()]
        beat = min(self.policy.beat.total_seconds(), *beats)
        renewals = repeat(self.renew, every=beat, failed="leases.renewal_failed")
        self._beating = asyncio.create_task(renewals, name="heartbeat")

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

    async def work(self, spec: ConsumerSpec, deliveries: Sequence[Delivery]) -> None:
        """Settle them all. What has come for one subject is claimed together; subjects do not wait for each other."""
        groups: dict[str, dict[leases.ClaimRequest, Delivery]] = {}
        async with asyncio.TaskGroup() as tasks:
            for delivery in deliveries:
                try:
                    command = self._handlings[delivery.subject].work.command.model_validate_json(delivery.raw.data)
                except (ValidationError, KeyError) as err:
                    tasks.create_task(settle(spec, delivery, self._invalid(delivery, err)))
                    continue
                asked = self.claims.asked(command.data.row_id, command.data.generation)
                groups.setdefault(delivery.subject, {})[asked] = delivery
            for subject, group in groups.items():
                tasks.create_task(self._work_group(spec, self._handlings[subject], group))

    async def _work_group(
        self, spec: ConsumerSpec, handling: Handling, group: Mapping[leases.ClaimRequest, Delivery]
    ) -> None:
        try:
            claimed = dict(zip(group, await self.claims.claim(handling, list(group)), strict=True))
            refused = [asked for asked, lease in claimed.items() if lease is None]
            found = await self.claims.found(refused) if refused else {}
        except FAILURES as err:
            log.warning("jobs.unclaimed", jobs=len(group), error=repr(err))
            for delivery in group.values():
                delivery.settle(Nak(unexpected_delay(delivery.number), outcome="error"))
            return
        async with asyncio.TaskGroup() as tasks:
            for asked, lease in claimed.items():
                if lease is not None:
                    tasks.create_task(self._run_delivery(spec, handling, group[asked], lease))
                else:
                    why = self._why_not(handling, asked, found.get(asked.id))
                    tasks.create_task(settle(spec, group[asked], why))

    async def _run_delivery(self, spec: ConsumerSpec, handling: Handling, delivery: Delivery, lease: Lease) -> None:
        job = Job(self, handling, lease)
        structlog.contextvars.bind_contextvars(job_id=job.row.id, kind=job.row.kind, subject_id=job.row.subject_id)
        await settle(spec, delivery, self._run(job))

    async def _run(self, job: Job) -> Settlement:
        """The settle point of an attempt: whatever went wrong is recorded on its job."""
        handling = job.handling
        self.held[job.token] = job
        try:
            async with job.stack:
                completion = await handling.run(job)
                return await handling.complete(job, completion)
        except Settled as decided:
            return decided.settlement
        except asyncio.CancelledError:
            if job.lost:
                job.task.uncancel()
                return SUPERSEDED
            if not job.task.cancelling():
                job.ending_begun = True  # this worker goes on: something inside the handler let its cancellation out
                return await handling.fail(job, RuntimeError("the work was cancelled from inside"))
            job.ending_begun = True  # a renewal must not take again what is given back
            await asyncio.shield(self.claims.give_back(job.lease))
            raise
        except Exception as err:  # noqa: BLE001  # told to the job, with its stack in the log where nobody foresaw it
            job.ending_begun = True
            return await handling.fail(job, err)
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
            return await handling.give_up_lost(found)
        return Nak(SOON, outcome="leased")  # open, unleased, attempts left: the lease in the way has ended since

    async def _invalid(self, delivery: Delivery, err: Exception) -> Settlement:
        """A command that its class refuses fails its job, which its id names; what is no command is kept as poison."""
        named = parse_message_id(delivery.headers.get("Nats-Msg-Id", ""))
        handling = self._handlings.get(delivery.subject)
        if named is None or handling is None:
            await record_poison(self.database, self.metrics, delivery, err)
            return Ack(outcome="poison")
        asked = self.claims.asked(*named)
        [lease] = await self.claims.claim(handling, [asked])
        if lease is None:
            return await self._why_not(handling, asked, (await self.claims.found([asked])).get(asked.id))
        reason = errors.InvalidMessage(f"the command does not fit its type: {str(err)[:500]}")
        return await handling.fail(Job(self, handling, lease), reason)

    async def renew(self) -> None:
        """All leases of this process in one statement; work whose lease is gone is stopped."""
        for job in await self.claims.renew(list(self.held.values())):
            if job.stop():
                self.metrics.lease_lost.labels(job.row.kind).inc()
