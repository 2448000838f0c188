"""Removes everything of a deleted collection, in steps that may be repeated: documents, rows, objects, the collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_common.objects import layout
from aperag_common.work.driven_tables import PURGE
from aperag_reconciler.purge import repository

if TYPE_CHECKING:
    from aperag_common.events.commands import PurgeCollection
    from aperag_common.objects.port import ObjectStore
    from aperag_common.work.driven import DrivenClaim, DrivenRows

log = structlog.get_logger(__name__)

BATCH = 200


@dataclass(frozen=True, slots=True)
class Purge:
    """A worker that dies, or fails, leaves a smaller rest to the next."""

    rows: DrivenRows
    objects: ObjectStore

    async def handle(self, command: PurgeCollection) -> None:
        collection_id = command.data.collection_id
        async with self.rows.claim(PURGE, command) as held:
            removed = 0
            while batch := await self._remove_documents(held, collection_id):
                removed += batch
            await self.objects.delete_prefix(layout.collection_prefix(command.owner, collection_id))
            async with held.finish() as ending:
                await repository.remove_collection(ending.conn, collection_id)
        log.info("collection.purged", collection_id=collection_id, documents=removed)

    async def _remove_documents(self, held: DrivenClaim, collection_id: str) -> int:
        """Documents first, then the row of the purge: everybody locks in that order."""
        async with self.rows.engine.begin() as conn:
            removed = await repository.remove_documents(conn, collection_id, limit=BATCH)
            await held.hold(conn)
        return removed
