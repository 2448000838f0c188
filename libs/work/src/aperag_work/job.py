"""A claimed job, as its handler sees it."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from aperag_common.bus.delivery import Ack, Nak, Settled, current_delivery
from aperag_work import leases
from aperag_work.policy import LEASE_SLACK, NAK_UP_TO

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from datetime import timedelta

    from aperag_work.database import Connection
    from aperag_work.engine import Engine
    from aperag_work.handling import Handling
    from aperag_work.leases import Lease
    from aperag_work.rows import JobRow

WAITS_BY_NAK = 20


def current_task() -> asyncio.Task[Any]:
    """The task that does the work."""
    task = asyncio.current_task()
    if task is None:
        message = "a job is worked on in a task"
        raise RuntimeError(message)
    return task


@dataclass(slots=True, eq=False)
class Job:
    """A held lease. ``lost`` turns true when the job was taken over, superseded or cancelled meanwhile.

    ``ending_begun`` is set before the job's end is written: from then on its fence alone decides, for a renewal that
    meets an end under way waits for it, and then finds a job that is settled, not taken over. What a handler enters into
    ``stack`` is left when the attempt has ended, however it ends.
    """

    engine: Engine
    handling: Handling
    lease: Lease
    task: asyncio.Task[Any] = field(default_factory=current_task)
    stack: AsyncExitStack = field(default_factory=AsyncExitStack)
    lost: bool = False
    ending_begun: bool = False

    @property
    def row(self) -> JobRow:
        return self.lease.row

    @property
    def token(self) -> str:
        return self.lease.token

    @property
    def attempt(self) -> int:
        """Counts this one."""
        return self.lease.attempt

    @property
    def subject(self) -> Any:
        """Facts of the job's subject at the time of the claim, of the aggregate's own class; None without one."""
        return self.lease.context

    @asynccontextmanager
    async def transaction(self) -> AsyncIterator[Connection]:
        """What the block writes is committed only while the lease is held, and renews it; else ``Settled`` is raised."""
        async with self.engine.database.durable.transaction() as conn:
            yield conn
            if not await leases.renew(conn, [self.lease], self.engine.policy):
                raise self.superseded()

    async def put_off(self, delay: timedelta) -> Settled:
        """Not yet: what this waits for has not happened. The lease goes back, and the attempt is not counted."""
        delivery = current_delivery.get()
        # The server gives up a message that comes back too often; a job that waits for long is left to the redrive.
        nak = delivery is None or (delivery.number < WAITS_BY_NAK and delay <= NAK_UP_TO)
        due = delay + LEASE_SLACK if nak else delay
        self.ending_begun = True
        async with self.engine.database.relaxed.acquire() as conn:
            if not await leases.release(conn, self.lease, due):
                return self.superseded()
        return Settled(Nak(delay, outcome="waiting") if nak else Ack(outcome="waiting"))

    def superseded(self) -> Settled:
        self.engine.metrics.fence_rejects.labels(self.row.kind).inc()
        return Settled(Ack(outcome="superseded"))

    def stop(self) -> bool:
        """Stop the work: its result could not be written any more. False where that is known, or its end under way."""
        if self.lost or self.ending_begun:
            return False
        self.lost = True
        self.task.cancel()
        return True
