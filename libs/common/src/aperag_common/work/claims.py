"""Claim, beat, finish, fail: how a worker moves one document step, and how it is kept from moving a newer one.

    async with claims.claim(command) as step:      # one short statement; beats until the block ends
        …                                          # slow work, outside any transaction
        await finisher.finish(step, result)        # short fenced transaction (aperag_common.work.finisher)

Leaving the block with an error records the failure; every way out that is not success raises ``Settled``, which
tells the consume loop what to do with the message. Transitions made here are the indexer's.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import InterfaceError, SQLAlchemyError

from aperag_common.bus.delivery import Ack, Nak, Settled, current_delivery
from aperag_common.settings import WorkStep
from aperag_common.telemetry import propagate
from aperag_common.work import failures, lease
from aperag_common.work.batching import Batcher
from aperag_common.work.finish import Ending, Finishing, conclude_all, finish
from aperag_common.work.lease import Subject, Taken, Wanted

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.events.commands import StepCommand
    from aperag_common.metrics import Metrics
    from aperag_common.work.change import Change
    from aperag_common.work.courier import Courier
    from aperag_common.work.dispatch import StepRow
    from aperag_common.work.policy import WorkPolicy

log = structlog.get_logger(__name__)

SOON = timedelta(seconds=1)

UNREACHABLE = (InterfaceError, OSError)
"""The database is not there: who comes after need not find that out for themselves, one time limit after the other."""


@dataclass(slots=True)
class StepClaim:
    """A held lease. ``lost`` turns true when the row was taken over, superseded or cancelled meanwhile.

    ``ending_begun`` is set before the row's end is written: from then on its fence alone decides, for a renewal that
    meets an end under way waits for it, and then finds a row that is settled, not taken over.
    """

    taken: Taken
    claims: Claims
    task: asyncio.Task[Any]
    lost: bool = False
    ending_begun: bool = False

    @property
    def row(self) -> StepRow:
        return self.taken.row

    @property
    def subject(self) -> Subject:
        return self.taken.subject

    @property
    def served_generation(self) -> int | None:
        """What searches see now; None while the step has never succeeded."""
        return self.taken.served_generation

    @property
    def data(self) -> dict[str, Any]:
        """What the last success left on the row."""
        return self.taken.data

    def ending(self, served_generation: int | None = None, data: Mapping[str, Any] | None = None) -> Ending:
        return Ending(self.row, self.taken.token, served_generation, data or {}, propagate.current_traceparent())

    @asynccontextmanager
    async def finish(self) -> AsyncIterator[Finishing]:
        """A transaction of this step's own: the caller's statements and the step's success, or neither.

        Raises ``Settled`` when a newer generation or another worker has taken over: nothing is written then.
        """
        self.ending_begun = True
        async with self.claims.engine.begin() as conn:
            [finishing] = await finish(conn, [self.ending()])
            if not isinstance(finishing, Finishing):
                raise self.superseded()
            yield finishing
            [change] = await self.claims.conclude(conn, [finishing])
        self.claims.courier.deliver(change)

    def superseded(self) -> Settled:
        self.claims.metrics.fence_rejects.labels(self.row.kind).inc()
        return Settled(Ack(outcome="superseded"))

    async def beat(self) -> None:
        try:
            held = await lease.renew(self.claims.engine, self.row, self.taken.token, self.claims.policy)
        except (SQLAlchemyError, OSError) as err:
            # The fence decides in the end: a missed beat costs a possible second attempt, not correctness.
            log.warning("lease.unrenewed", step_id=self.row.id, error=repr(err))
            return
        if not held and self.stop():
            self.claims.metrics.lease_lost.labels(self.row.kind).inc()

    def stop(self) -> bool:
        """Stop the work: its result could not be written any more. False where that is known, or its end under way."""
        if self.lost or self.ending_begun:
            return False
        self.lost = True
        self.task.cancel()
        return True


class Claims:
    """Everything a worker process needs to claim steps; ``instance`` is shown as the lease's owner."""

    def __init__(
        self,
        engine: AsyncEngine,
        courier: Courier,
        policy: WorkPolicy,
        metrics: Metrics,
        instance: str,
        *,
        source: str = "indexer",
    ) -> None:
        self.engine = engine
        self.courier = courier
        self.policy = policy
        self.metrics = metrics
        self.instance = instance
        self.source = source
        self.held: dict[str, StepClaim] = {}
        # By command: a step of one kind does not wait for those of another.
        self._taking: dict[str, Batcher[Wanted, Taken | None]] = {}

    def policy_of(self, kind: str, *, removing: bool) -> WorkPolicy:
        """How often a step of this kind is tried."""
        return self.policy.of_step(WorkStep.REMOVE if removing else kind)

    def cancel_task(self, workflow_id: str) -> None:
        """A person cancelled this task: stop working on it at once instead of at the next beat."""
        for claim in list(self.held.values()):
            if claim.row.workflow_id == workflow_id:
                claim.stop()

    @asynccontextmanager
    async def claim(self, command: StepCommand) -> AsyncIterator[StepClaim]:
        claim = await self._take(command)
        delivery = current_delivery.get()
        if delivery is not None:
            delivery.beats.append(claim.beat)
        self.held[claim.taken.token] = claim
        structlog.contextvars.bind_contextvars(document_id=claim.row.document_id, kind=claim.row.kind)
        try:
            yield claim
        except Settled:
            raise
        except asyncio.CancelledError:
            if claim.lost:
                claim.task.uncancel()
                raise Settled(Ack(outcome="superseded")) from None
            await asyncio.shield(self._give_back(claim.row.id, claim.row.generation, claim.taken.token))
            raise
        except Exception as err:  # the settle point of the step: whatever went wrong is recorded on its row
            claim.ending_begun = True
            raise Settled(await failures.record(self, claim, err)) from err
        finally:
            self.held.pop(claim.taken.token, None)
            if delivery is not None:
                delivery.beats.remove(claim.beat)

    async def conclude(self, conn: AsyncConnection, finishings: Sequence[Finishing]) -> list[Change]:
        return await conclude_all(conn, finishings, source=self.source, first_due=self.policy.first_due)

    async def _take(self, command: StepCommand) -> StepClaim:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine always runs in a task
        data = command.data
        removing = command.type.endswith(".remove")
        wanted = Wanted(data.row_id, data.generation, data.document_id, secrets.token_hex(16), removing)
        policy = self.policy_of(data.kind, removing=removing)
        taking = self._taking.setdefault(
            f"{command.type} {data.kind}", Batcher(partial(self._take_all, policy), unreachable=UNREACHABLE)
        )
        future = taking.submit(wanted)
        try:
            taken = await asyncio.shield(future)
        except asyncio.CancelledError:
            await asyncio.shield(self._untake(future, wanted))
            raise
        if taken is None:
            raise Settled(await self._why_not(command))
        return StepClaim(taken, self, task)

    async def _take_all(self, policy: WorkPolicy, wanted: Sequence[Wanted]) -> list[Taken | None]:
        return await lease.take(self.engine, wanted, policy, owner=self.instance)

    async def _untake(self, future: asyncio.Future[Taken | None], wanted: Wanted) -> None:
        """The claim may be under way: only what it has taken can be given back."""
        await asyncio.wait([future])
        if future.exception() is None and future.result() is not None:
            await self._give_back(wanted.id, wanted.generation, wanted.token)

    async def _why_not(self, command: StepCommand) -> Ack | Nak:
        found = await lease.holder(self.engine, command.data.row_id)
        if found is None or found.generation != command.data.generation:
            return Ack(outcome="superseded")
        if not failures.is_open(found.status):
            return Ack(outcome="settled")
        if found.leased_for > 0:
            # No lease is longer than the policy's, whatever a clock that was set back makes of it.
            return Nak(min(timedelta(seconds=found.leased_for), self.policy.lease), outcome="leased")
        policy = self.policy_of(command.data.kind, removing=command.type.endswith(".remove"))
        if found.attempt >= policy.max_attempts:
            await failures.record_lost(self, command)
            return Ack(outcome="failed")
        if found.deleted:
            return Ack(outcome="superseded")  # its delete is under way
        # Open, unleased, tries left: the lease that stood in the way has ended since.
        return Nak(SOON, outcome="leased")

    async def _give_back(self, row_id: str, generation: int, token: str) -> None:
        """At shutdown."""
        try:
            await lease.release(self.engine, row_id, generation, token)
        except (SQLAlchemyError, OSError) as err:
            log.warning("lease.unreleased", step_id=row_id, error=repr(err))
