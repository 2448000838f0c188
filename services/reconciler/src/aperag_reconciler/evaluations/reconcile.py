"""Evaluations' upkeep: items whose runner is gone wait again, and each evaluation says what its items say.

Nothing is claimed here: running an evaluation is its runner's.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_common.db.models.evaluation import EvaluationStatus
from aperag_reconciler.evaluations import repository
from aperag_reconciler.evaluations.decide import standing

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

BATCH = 500


@dataclass(frozen=True, slots=True)
class Evaluations:
    """Two at once, or one that was stopped in the middle, do no harm: each part brings a row to what it must be."""

    engine: AsyncEngine
    metrics: Metrics
    stuck_after: timedelta

    async def run(self) -> None:
        reset = await self._reset()
        async with self.engine.connect() as conn:
            found = await repository.open_evaluations(conn, reset)
        settled = [evaluation_id for evaluation_id in found if await self._settle(evaluation_id)]
        async with self.engine.connect() as conn:
            counts = await repository.counts(conn)
        for status in EvaluationStatus:
            self.metrics.evaluations.labels(status.value).set(counts.get(status.value, 0))
        if reset or settled:
            log.info("evaluations.reconciled", items_reset=len(reset), evaluations_changed=len(settled), **counts)

    async def _reset(self) -> list[str]:
        reset: list[str] = []
        while True:
            async with self.engine.begin() as conn:
                batch = await repository.reset_items(conn, self.stuck_after, limit=BATCH)
            reset += batch
            if len(batch) < BATCH:
                return reset

    async def _settle(self, evaluation_id: str) -> bool:
        """Whether something about it had to change."""
        async with self.engine.begin() as conn:
            found = await repository.lock(conn, evaluation_id)
            if found is None or (wanted := standing(*found)) == found[0]:
                return False
            await repository.write(conn, evaluation_id, wanted)
        return True
