"""Garbage collection: what expired, what was deleted, and objects that belong to no row."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog

from aperag_common.objects import layout
from aperag_reconciler.gc import repository

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.objects.port import ObjectStore
    from aperag_reconciler.settings import RetentionSettings

log = structlog.get_logger(__name__)

BATCH = 200


@dataclass(frozen=True, slots=True)
class Collect:
    """Every part may run twice, at once or after a crash in the middle."""

    engine: AsyncEngine
    objects: ObjectStore
    retention: RetentionSettings

    async def run(self) -> None:
        async with self.engine.begin() as conn:
            expired = await repository.expire_uploads(conn, self.retention.uploaded)
            await repository.forget(conn, outbox=self.retention.outbox, workflow=self.retention.workflow)
        buried = await self._bury()
        orphans = await self._sweep_orphans()
        if expired or buried or orphans:
            log.info("garbage.collected", expired=expired, tombstones=buried, orphans=orphans)

    async def _bury(self) -> int:
        """Objects first: a row that outlives its objects is found again, an object without a row only by the sweep."""
        total = 0
        while True:
            async with self.engine.connect() as conn:
                found = await repository.tombstones(conn, self.retention.tombstone, limit=BATCH)
            for document_id, collection_id, owner in found:
                await self.objects.delete_prefix(layout.document_prefix(owner, collection_id, document_id))
            async with self.engine.begin() as conn:
                await repository.remove_documents(conn, [document_id for document_id, _, _ in found])
            total += len(found)
            if len(found) < BATCH:
                return total

    async def _sweep_orphans(self) -> int:
        removed = 0
        for owner in await self.objects.prefixes():
            for collection in await self.objects.prefixes(owner):
                prefixes = await self.objects.prefixes(collection)
                removed += await self._remove_orphans(prefixes)
        return removed

    async def _remove_orphans(self, prefixes: list[str]) -> int:
        """An upload's bytes come before its row, so only what is older than any request may be judged."""
        by_document = {prefix.rpartition("/")[2]: prefix for prefix in prefixes}
        async with self.engine.connect() as conn:
            living = await repository.living(conn, list(by_document))
        oldest = datetime.now(UTC) - self.retention.orphan_object
        removed = 0
        for document_id, prefix in by_document.items():
            if document_id not in living and await self._untouched_since(prefix, oldest):
                await self.objects.delete_prefix(prefix)
                removed += 1
        return removed

    async def _untouched_since(self, prefix: str, oldest: datetime) -> bool:
        changed = await self.objects.last_change(prefix)
        return changed is not None and changed <= oldest
