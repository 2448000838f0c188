"""Claim, beat, finish, fail: how a worker moves one document step, and how it is kept from moving a newer one.

    async with claims.claim(command) as step:      # short transaction; beats until the block ends
        …                                          # slow work, outside any transaction
        async with step.finish() as finishing:     # short fenced transaction
            await finishing.conn.execute(…)

Leaving the block with an error records the failure; every way out that is not success raises ``Settled``, which
tells the consume loop what to do with the message. Transitions made here are the indexer's.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from aperag_common.bus.delivery import Ack, Nak, Settled, current_delivery
from aperag_common.work import failures
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow
from aperag_common.work.finish import Finishing, finish
from aperag_common.work.policy import LEASE_SLACK, WorkPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.events.commands import StepCommand
    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier

log = structlog.get_logger(__name__)

# One statement and so one round trip: the document turns RUNNING with the first claim, the step is leased.
_CLAIM = text(
    f"""
    WITH alive AS (
        SELECT d.id, d.name, d.object_path, d.sha256, c.analyzer, c.active_model, c.config
        FROM document d JOIN collection c ON c.id = d.collection_id
        WHERE d.id = :document AND (:removing OR d.deleted_at IS NULL)
    ), running AS (
        UPDATE document SET status = 'RUNNING', updated = clock_timestamp()
        WHERE id = :document AND status = 'PENDING' AND deleted_at IS NULL AND EXISTS (
            SELECT 1 FROM document_step WHERE id = :id AND generation = :generation AND status = 'PENDING')
        RETURNING id
    )
    UPDATE document_step s SET
        status = CASE WHEN s.status IN ('PENDING', 'CREATING') THEN 'CREATING' ELSE 'DELETION_IN_PROGRESS' END,
        attempt = s.attempt + 1, lease_token = :token, lease_owner = :owner,
        lease_until = clock_timestamp() + :lease, due_at = clock_timestamp() + :lease + :slack,
        started_at = coalesce(s.started_at, clock_timestamp()), updated = clock_timestamp()
    FROM alive LEFT JOIN running ON true
    WHERE s.id = :id AND s.generation = :generation AND s.attempt < :max_attempts
        AND s.status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')
        AND (s.lease_until IS NULL OR s.lease_until <= clock_timestamp())
    RETURNING {", ".join(f"s.{c}" for c in STEP_COLUMNS.split(", "))}, s.attempt, s.failures, s.served_generation,
        s.data, alive.name, alive.object_path, alive.sha256, alive.analyzer, alive.active_model, alive.config
    """
)

_WHY_NOT = text(
    """
    SELECT s.generation, s.status, s.attempt, s.lease_token,
        greatest(extract(epoch FROM s.lease_until - clock_timestamp()), 0)::float AS leased_for
    FROM document_step s WHERE s.id = :id
    """
)

_RENEW = text(
    """
    UPDATE document_step SET lease_until = clock_timestamp() + :lease, due_at = clock_timestamp() + :lease + :slack
    WHERE id = :id AND generation = :generation AND lease_token = :token
    """
)

_RELEASE = text(
    """
    UPDATE document_step SET lease_token = NULL, lease_owner = NULL, lease_until = NULL, updated = clock_timestamp(),
        status = CASE WHEN status = 'CREATING' THEN 'PENDING' ELSE 'DELETING' END,
        attempt = attempt - 1, due_at = clock_timestamp() + :slack
    WHERE id = :id AND generation = :generation AND lease_token = :token
    """
)


@dataclass(frozen=True, slots=True)
class Subject:
    """What a step works on: facts of its document and collection at the time of the claim."""

    name: str
    object_path: str
    sha256: str
    analyzer: str
    active_model: str
    config: dict[str, Any]


@dataclass(slots=True)
class StepClaim:
    """A held lease. ``lost`` turns true when the row was taken over, superseded or cancelled meanwhile."""

    row: StepRow
    subject: Subject
    token: str
    attempt: int
    failures: int
    served_generation: int | None
    data: dict[str, Any]
    claims: Claims
    task: asyncio.Task[Any]
    lost: bool = False

    @asynccontextmanager
    async def finish(
        self, *, served_generation: int | None = None, data: dict[str, Any] | None = None
    ) -> AsyncIterator[Finishing]:
        """The fenced transaction: the caller's statements and the step's success, or neither.

        ``served_generation`` is what searches see from now on (default: this generation). Raises ``Settled``
        when a newer generation or another worker has taken over: nothing is written then.
        """
        async with self.claims.engine.begin() as conn:
            finishing = await finish(conn, self.row, self.token, served_generation=served_generation, data=data)
            if finishing is None:
                self.claims.metrics.fence_rejects.labels(self.row.kind).inc()
                raise Settled(Ack(outcome="superseded"))
            yield finishing
            change = await finishing.conclude(source=self.claims.source, first_due=self.claims.policy.first_due)
        self.claims.courier.deliver(change)

    async def beat(self) -> None:
        parameters = {"id": self.row.id, "generation": self.row.generation, "token": self.token}
        policy = self.claims.policy
        try:
            async with self.claims.engine.begin() as conn:
                renewed = await conn.execute(_RENEW, {**parameters, "lease": policy.lease, "slack": LEASE_SLACK})
        except (SQLAlchemyError, OSError) as err:
            # The fence decides in the end: a missed beat costs a possible second attempt, not correctness.
            log.warning("lease.unrenewed", step_id=self.row.id, error=repr(err))
            return
        if renewed.rowcount == 0:
            self.lose()

    def lose(self) -> None:
        """Stop the work: its result could not be written any more."""
        if not self.lost:
            self.lost = True
            self.claims.metrics.lease_lost.labels(self.row.kind).inc()
            self.task.cancel()


@dataclass(slots=True)
class Claims:
    """Everything a worker process needs to claim steps; ``instance`` is shown as the lease's owner."""

    engine: AsyncEngine
    courier: Courier
    policy: WorkPolicy
    metrics: Metrics
    instance: str
    source: str = "indexer"
    held: dict[str, StepClaim] = field(default_factory=dict)

    def cancel_task(self, workflow_id: str) -> None:
        """A person cancelled this task: stop working on it at once instead of at the next beat."""
        for claim in list(self.held.values()):
            if claim.row.workflow_id == workflow_id:
                claim.lose()

    @asynccontextmanager
    async def claim(self, command: StepCommand) -> AsyncIterator[StepClaim]:
        claim = await self._take(command)
        delivery = current_delivery.get()
        if delivery is not None:
            delivery.beats.append(claim.beat)
        self.held[claim.token] = claim
        structlog.contextvars.bind_contextvars(document_id=claim.row.document_id, kind=claim.row.kind)
        try:
            yield claim
        except Settled:
            raise
        except asyncio.CancelledError:
            if claim.lost:
                claim.task.uncancel()
                raise Settled(Ack(outcome="superseded")) from None
            await asyncio.shield(self._give_back(claim))
            raise
        except Exception as err:  # the settle point of the step: whatever went wrong is recorded on its row
            raise Settled(await failures.record(self, claim, err)) from err
        finally:
            self.held.pop(claim.token, None)
            if delivery is not None:
                delivery.beats.remove(claim.beat)

    async def _take(self, command: StepCommand) -> StepClaim:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine always runs in a task
        token = secrets.token_hex(16)
        data = command.data
        async with self.engine.begin() as conn:
            row = (
                await conn.execute(
                    _CLAIM,
                    {
                        "id": data.row_id,
                        "generation": data.generation,
                        "document": data.document_id,
                        "removing": command.type.endswith(".remove"),
                        "token": token,
                        "owner": self.instance,
                        "lease": self.policy.lease,
                        "slack": LEASE_SLACK,
                        "max_attempts": self.policy.max_attempts,
                    },
                )
            ).one_or_none()
        if row is None:
            raise Settled(await self._why_not(command))
        values = dict(row._mapping)
        step = StepRow(**{name: values[name] for name in STEP_COLUMNS.split(", ")})
        subject = Subject(**{name: values[name] for name in Subject.__dataclass_fields__})
        return StepClaim(
            step,
            subject,
            token,
            values["attempt"],
            values["failures"],
            values["served_generation"],
            values["data"],
            self,
            task,
        )

    async def _why_not(self, command: StepCommand) -> Ack | Nak:
        async with self.engine.connect() as conn:
            row = (await conn.execute(_WHY_NOT, {"id": command.data.row_id})).one_or_none()
        if row is None or row.generation != command.data.generation:
            return Ack(outcome="superseded")
        if not failures.is_open(row.status):
            return Ack(outcome="settled")
        if row.leased_for > 0:
            return Nak(timedelta(seconds=row.leased_for), outcome="leased")
        if row.attempt >= self.policy.max_attempts:
            await failures.record_lost(self, command)
            return Ack(outcome="failed")
        # Open, unleased, tries left: only a document that was deleted meanwhile hides it; its delete is under way.
        return Ack(outcome="superseded")

    async def _give_back(self, claim: StepClaim) -> None:
        """At shutdown: the next worker need not wait for the lease to end, and this attempt is not counted."""
        parameters = {"id": claim.row.id, "generation": claim.row.generation, "token": claim.token}
        try:
            async with self.engine.begin() as conn:
                await conn.execute(_RELEASE, {**parameters, "slack": LEASE_SLACK})
        except (SQLAlchemyError, OSError) as err:
            log.warning("lease.unreleased", step_id=claim.row.id, error=repr(err))
