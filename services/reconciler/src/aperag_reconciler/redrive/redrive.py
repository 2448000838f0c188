"""Re-drive: the guarantee behind every best-effort publish."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog
from opentelemetry.trace import SpanKind

from aperag_common.telemetry import propagate
from aperag_reconciler.redrive import repository

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.work.courier import Courier
    from aperag_common.work.dispatch import Dispatch
    from aperag_common.work.policy import WorkPolicy

log = structlog.get_logger(__name__)

SOURCE = "reconciler"
BATCH = 200


@dataclass(frozen=True, slots=True)
class Redrive:
    """Takes lost rows in one short transaction, commits, then publishes: a crash in between costs one period."""

    engine: AsyncEngine
    courier: Courier
    policy: WorkPolicy

    async def run(self) -> int:
        """Returns how many commands were published again."""
        for table in repository.DRIVEN:
            await self._pull_in(table)
        total = 0
        while True:
            lost: list[Dispatch] = []
            async with self.engine.begin() as conn:
                for table in repository.DRIVEN:
                    lost += await repository.take_lost(conn, table, self.policy, limit=BATCH, source=SOURCE)
                lost += await repository.free_stuck_builds(conn, self.policy, limit=BATCH, source=SOURCE)
            for command in lost:
                await self._send(command)
            total += len(lost)
            if len(lost) < BATCH:
                break
        if total:
            log.info("steps.redriven", steps=total)
        return total

    async def _pull_in(self, table: str) -> None:
        total, pulled = 0, BATCH
        while pulled == BATCH:
            async with self.engine.begin() as conn:
                pulled = await repository.pull_in(conn, table, self.policy, limit=BATCH)
            total += pulled
        if total:
            log.warning("clock.set_back", table=table, rows=total)

    async def _send(self, command: Dispatch) -> None:
        """A trace of its own, linked to the original request: one over hours could not be read."""
        link = propagate.link_from(command.traceparent)
        with propagate.tracer().start_as_current_span(
            f"redrive {command.subject}",
            context=propagate.no_context(),
            kind=SpanKind.INTERNAL,
            links=[link] if link else None,
            attributes={"aperag.row": command.row_id, "aperag.dispatch": command.dispatch},
        ):
            await self.courier.send([command])
