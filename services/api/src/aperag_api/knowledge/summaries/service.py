"""Asking for a new summary of a collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access.service import living
from aperag_api.knowledge.collections.events import SOURCE
from aperag_api.knowledge.collections.schemas import CollectionConfig
from aperag_api.knowledge.summaries.schemas import SummaryRequested, SummaryStatus
from aperag_work import summaries
from aperag_work.change import Change

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_work.dispatcher import Dispatcher

BEGUN = "A new summary was ordered; it becomes the collection's description."
GENERATING = "A summary is being made already; when it is there, one more is made."
DISABLED = "This collection makes no summaries; set enable_summary in its config."


@dataclass(frozen=True, slots=True)
class SummaryService:
    engine: AsyncEngine
    dispatcher: Dispatcher
    first_due: timedelta

    async def generate(self, owner: str, collection_id: str) -> SummaryRequested:
        async with self.engine.begin() as conn:
            row = await living(conn, collection_id, owner)
            commands = await summaries.follow(conn, collection_id, first_due=self.first_due, source=SOURCE)
        self.dispatcher.deliver(Change(commands))
        enabled = CollectionConfig.model_validate(row.config).enable_summary
        return SummaryRequested(
            collection_id=collection_id,
            success=bool(commands),
            message=BEGUN if commands else GENERATING if enabled else DISABLED,
            summary_status=SummaryStatus.PENDING if commands else SummaryStatus.GENERATING,
        )
