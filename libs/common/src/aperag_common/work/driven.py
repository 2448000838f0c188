"""Claim, beat, finish, fail for driven rows that are no document steps, with the promises that those have.

    async with rows.claim(PURGE, command) as held:    # one short statement; beats until the block ends
        …                                             # slow work, outside any transaction
        async with held.finish() as ending:           # the caller's statements, then the fenced end, or none of it
            await ending.conn.execute(…)

Leaving the block with an error records the failure; every way out that is not success raises ``Settled``. A row
whose generation begins DELETING is removed by its success, any other becomes ACTIVE. Locks: whatever the caller's
statements lock (collection, document), they lock before the row.
"""

from __future__ import annotations

import asyncio
import secrets
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from aperag_common.bus.delivery import Ack, Nak, Settled, current_delivery
from aperag_common.db.models.base import StepStatus
from aperag_common.db.session import autocommit
from aperag_common.telemetry import propagate
from aperag_common.work import driven_failures, outbox
from aperag_common.work.change import Change
from aperag_common.work.derive import is_open
from aperag_common.work.dispatch import DELETING
from aperag_common.work.driven_sql import statements
from aperag_common.work.driven_tables import DrivenRow, DrivenTable
from aperag_common.work.lease import LOST_MESSAGE
from aperag_common.work.policy import LEASE_SLACK, NAK_UP_TO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.events.commands import RowCommand
    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier
    from aperag_common.work.dispatch import Dispatch
    from aperag_common.work.outbox import Fact
    from aperag_common.work.policy import WorkPolicy

log = structlog.get_logger(__name__)

FAILED = (StepStatus.FAILED,)
WAITS_BY_NAK = 20


@dataclass(frozen=True, slots=True)
class Ending:
    """The transaction that settles a row; ``facts`` are written with it and relayed after it."""

    conn: AsyncConnection
    facts: list[Fact] = field(default_factory=list)


@dataclass(slots=True)
class DrivenClaim:
    """A held lease; ``attempt`` counts this one. ``lost`` turns true when the row was taken over or superseded.

    ``ending_begun`` as of ``StepClaim``: a renewal that meets the end under way stops nothing.
    """

    rows: DrivenRows
    table: DrivenTable
    row: DrivenRow
    token: str
    attempt: int
    failures: int
    task: asyncio.Task[Any]
    lost: bool = False
    ending_begun: bool = False

    @property
    def fence(self) -> dict[str, Any]:
        return {"id": self.row.id, "generation": self.row.generation, "token": self.token}

    @asynccontextmanager
    async def finish(self) -> AsyncIterator[Ending]:
        """Raises ``Settled`` when another worker or a newer generation has taken over: nothing is written then."""
        sql = statements(self.table.name)
        self.ending_begun = True
        async with self.rows.engine.begin() as conn:
            ending = Ending(conn)
            yield ending
            settle = sql.remove if self.row.status in DELETING else sql.activate
            if (await conn.execute(settle, self.fence)).one_or_none() is None:
                raise self.superseded()
            await outbox.add(conn, ending.facts)
        self.rows.courier.deliver(Change((), tuple(ending.facts)))

    async def hold(self, conn: AsyncConnection) -> None:
        """Renew in the caller's transaction, so that what it writes is fenced too; ``Settled`` where it is lost."""
        if not await self._renewed(conn):
            raise self.superseded()

    async def put_off(self, delay: timedelta) -> Settled:
        """Not yet: what this waits for has not happened. The lease goes back, and the attempt is not counted."""
        delivery = current_delivery.get()
        # The server gives up a message that comes back too often; a row that waits for long is left to the re-drive.
        nak = delivery is None or (delivery.number < WAITS_BY_NAK and delay <= NAK_UP_TO)
        parameters = {**self.fence, "slack": delay + LEASE_SLACK if nak else delay}
        async with autocommit(self.rows.engine) as conn:
            released = (await conn.execute(statements(self.table.name).release, parameters)).rowcount
        if not released:
            return self.superseded()
        return Settled(Nak(delay, outcome="waiting") if nak else Ack(outcome="waiting"))

    def superseded(self) -> Settled:
        self.rows.metrics.fence_rejects.labels(self.table.name).inc()
        return Settled(Ack(outcome="superseded"))

    async def beat(self) -> None:
        try:
            async with autocommit(self.rows.engine) as conn:
                held = await self._renewed(conn)
        except (SQLAlchemyError, OSError) as err:
            # The fence decides in the end: a missed beat costs a possible second attempt, not correctness.
            log.warning("lease.unrenewed", table=self.table.name, row_id=self.row.id, error=repr(err))
            return
        if not held and not self.lost and not self.ending_begun:
            self.lost = True
            self.rows.metrics.lease_lost.labels(self.table.name).inc()
            self.task.cancel()

    async def _renewed(self, conn: AsyncConnection) -> bool:
        parameters = {**self.fence, "lease": self.rows.policy.lease, "slack": LEASE_SLACK}
        return bool((await conn.execute(statements(self.table.name).renew, parameters)).rowcount)


class DrivenRows:
    """Everything a worker process needs to claim rows; ``instance`` is shown as the lease's owner."""

    def __init__(
        self,
        engine: AsyncEngine,
        courier: Courier,
        policy: WorkPolicy,
        metrics: Metrics,
        instance: str,
        *,
        source: str,
    ) -> None:
        self.engine = engine
        self.courier = courier
        self.policy = policy
        self.metrics = metrics
        self.instance = instance
        self.source = source

    @asynccontextmanager
    async def claim(self, table: DrivenTable, command: RowCommand) -> AsyncIterator[DrivenClaim]:
        claim = await self._take(table, command)
        delivery = current_delivery.get()
        if delivery is not None:
            delivery.beats.append(claim.beat)
        try:
            yield claim
        except Settled:
            raise
        except asyncio.CancelledError:
            if claim.lost:
                claim.task.uncancel()
                raise Settled(Ack(outcome="superseded")) from None
            await asyncio.shield(self._give_back(table, claim.fence))
            raise
        except Exception as err:  # the settle point of the row: whatever went wrong is recorded on it
            claim.ending_begun = True
            raise Settled(await driven_failures.record(claim, err)) from err
        finally:
            if delivery is not None:
                delivery.beats.remove(claim.beat)

    async def _take(self, table: DrivenTable, command: RowCommand) -> DrivenClaim:
        task = asyncio.current_task()
        assert task is not None  # noqa: S101  # a coroutine always runs in a task
        policy = self.policy.of_step(table.step)
        token = secrets.token_hex(16)
        fence = {"id": command.data.row_id, "generation": command.data.generation, "token": token}
        parameters = {
            "worker": self.instance,
            "lease": policy.lease,
            "slack": LEASE_SLACK,
            "lost": LOST_MESSAGE,
            "max_attempts": policy.max_attempts,
        }
        taking = asyncio.ensure_future(self._taken(table, {**fence, **parameters}))
        try:
            taken = await asyncio.shield(taking)
        except asyncio.CancelledError:
            # The claim may be under way: what it takes would be held until its lease ends.
            await asyncio.shield(self._untake(taking, table, fence))
            raise
        if taken is None:
            raise Settled(await self._why_not(table, command))
        attempt, failures = taken.pop("attempt"), taken.pop("failures")
        return DrivenClaim(self, table, DrivenRow(**taken), token, attempt, failures, task)

    async def _taken(self, table: DrivenTable, parameters: dict[str, Any]) -> dict[str, Any] | None:
        async with autocommit(self.engine) as conn:
            row = (await conn.execute(statements(table.name).take, parameters)).one_or_none()
        return None if row is None else dict(row._mapping)

    async def _untake(
        self, taking: asyncio.Future[dict[str, Any] | None], table: DrivenTable, fence: dict[str, Any]
    ) -> None:
        await asyncio.wait([taking])
        if taking.exception() is None and taking.result() is not None:
            await self._give_back(table, fence)

    async def _why_not(self, table: DrivenTable, command: RowCommand) -> Ack | Nak:
        async with autocommit(self.engine) as conn:
            found = (await conn.execute(statements(table.name).holder, {"id": command.data.row_id})).one_or_none()
        if found is None or found.generation != command.data.generation:
            return Ack(outcome="superseded")
        if not is_open(found.status):
            return Ack(outcome="settled")
        policy = self.policy.of_step(table.step)
        if found.leased_for > 0:
            # No lease is longer than the policy's, whatever a clock that was set back makes of it.
            return Nak(min(timedelta(seconds=found.leased_for), policy.lease), outcome="leased")
        if found.attempt < policy.max_attempts:
            return Nak(timedelta(0), outcome="leased")  # free since the claim looked
        values = dict(found._mapping)
        row = DrivenRow(**{name: values[name] for name in DrivenRow.__dataclass_fields__})
        return await driven_failures.record_lost(self, table, row, found.attempt, found.failures)

    async def _give_back(self, table: DrivenTable, fence: dict[str, Any]) -> None:
        """At shutdown: the next worker need not wait for the lease to end, and this attempt is not counted."""
        try:
            async with autocommit(self.engine) as conn:
                await conn.execute(statements(table.name).release, {**fence, "slack": LEASE_SLACK})
        except (SQLAlchemyError, OSError) as err:
            log.warning("lease.unreleased", table=table.name, row_id=fence["id"], error=repr(err))


async def raise_again(
    conn: AsyncConnection,
    table: DrivenTable,
    row_id: str,
    *,
    first_due: timedelta,
    source: str,
    among: Sequence[StepStatus] = FAILED,
    generation: int | None = None,
) -> Dispatch | None:
    """The next generation, with its budget whole; the command is to be sent after the commit.

    None, and nothing is written, unless the row is in one of the states ``among`` (and, where given, still at
    ``generation``). Whoever holds the older generation is fenced off.
    """
    parameters = {
        "id": row_id,
        "status": table.wanted.value,
        "among": [status.value for status in among],
        "generation": generation,
        "first_due": first_due,
        "traceparent": propagate.current_traceparent(),
    }
    row = (await conn.execute(statements(table.name).raise_generation, parameters)).one_or_none()
    return None if row is None else table.dispatch(DrivenRow(**row._mapping), source=source)
