"""Removes everything of a deleted collection, in steps that may be repeated: documents, rows, objects, the collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_common.objects import layout
from aperag_common.work.driven_tables import PURGE
from aperag_reconciler.purge import repository

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aperag_common.events.commands import PurgeCollection
    from aperag_common.objects.port import ObjectStore
    from aperag_common.work.driven import DrivenClaim, DrivenRows

log = structlog.get_logger(__name__)

BATCH = 200
WORKFLOW_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Purge:
    """A worker that dies, or fails, leaves a smaller rest to the next."""

    rows: DrivenRows
    objects: ObjectStore

    async def handle(self, command: PurgeCollection) -> None:
        collection_id = command.data.collection_id
        async with self.rows.claim(PURGE, command) as held:
            removed = await self._remove_all(held, repository.remove_documents, BATCH)
            await self._remove_all(held, repository.remove_workflows, WORKFLOW_BATCH)
            await self.objects.delete_prefix(layout.collection_prefix(command.owner, collection_id))
            async with held.finish() as ending:
                await repository.remove_collection(ending.conn, collection_id)
        log.info("collection.purged", collection_id=collection_id, documents=removed)

    async def _remove_all(self, held: DrivenClaim, remove: Callable[..., Awaitable[int]], limit: int) -> int:
        """In transactions of at most ``limit``: rows first, then that of the purge, for everybody locks in that order."""
        total = 0
        while True:
            async with self.rows.engine.begin() as conn:
                removed = await remove(conn, held.row.id, limit=limit)
                await held.hold(conn)
            if not removed:
                return total
            total += removed
