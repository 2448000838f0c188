"""Collections that want a summary have one, of the documents they hold now."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_common.db.models.base import JobStatus
from aperag_reconciler.summaries import observe
from aperag_reconciler.summaries.diff import Need, Patience, diff
from aperag_work import summaries

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_reconciler.settings import SummarySettings
    from aperag_reconciler.summaries.observe import Observed
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.rows import Dispatch

log = structlog.get_logger(__name__)

SOURCE = "reconciler"
PAGE = 50
SETTLED = (JobStatus.ACTIVE, JobStatus.FAILED)


@dataclass(frozen=True, slots=True)
class Summaries:
    """Two at once change each row once: a row is added by one of them, and raised from the generation it was seen at."""

    engine: AsyncEngine
    dispatcher: Dispatcher
    first_due: timedelta
    settings: SummarySettings

    async def run(self) -> int:
        """Returns how many summaries were ordered."""
        patience = Patience(self.settings.quiet.total_seconds(), self.settings.longest.total_seconds())
        ordered, after = 0, ""
        while True:
            async with self.engine.connect() as conn:
                page = await observe.page(conn, after=after, limit=PAGE)
            needs = {it.id: diff(it, patience) for it in page}
            ordered += await self._emit(page, needs)
            if len(page) < PAGE:
                return ordered
            after = page[-1].id

    async def _emit(self, page: list[Observed], needs: dict[str, Need]) -> int:
        wanting = [it for it in page if needs[it.id] is not Need.NOTHING]
        if not wanting:
            return 0
        commands: list[Dispatch] = []
        async with self.engine.begin() as conn:
            of = {need: [it.id for it in wanting if needs[it.id] is need] for need in Need}
            commands += await summaries.add(conn, of[Need.ADD], first_due=self.first_due, source=SOURCE)
            removed = await summaries.remove(conn, of[Need.REMOVE])
            for it in wanting:
                if needs[it.id] is Need.RENEW:
                    commands += await self._renew(conn, it)
        await self.dispatcher.send(commands)
        log.info("summaries.reconciled", ordered=len(commands), removed=removed)
        return len(commands)

    async def _renew(self, conn: AsyncConnection, it: Observed) -> tuple[Dispatch, ...]:
        return await summaries.renew(
            conn, it.id, first_due=self.first_due, source=SOURCE, among=SETTLED, generation=it.generation
        )
