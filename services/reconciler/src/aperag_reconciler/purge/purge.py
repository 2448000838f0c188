"""Removes everything of a deleted collection, in parts that may be repeated: documents, rows, objects, the collection."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_common.objects import layout
from aperag_reconciler.purge import repository
from aperag_work.completion import Completion

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from aperag_common.objects.port import ObjectStore
    from aperag_work.completion import Completed
    from aperag_work.database import Connection
    from aperag_work.job import Job

log = structlog.get_logger(__name__)

BATCH = 200
WORKFLOW_BATCH = 5000


@dataclass(frozen=True, slots=True)
class Purge:
    """A worker that dies, or fails, leaves a smaller rest to the next."""

    objects: ObjectStore

    async def run(self, job: Job) -> Completion:
        collection_id = job.row.subject_id
        removed = await self._remove_all(job, repository.remove_documents, BATCH)
        await self._remove_all(job, repository.remove_workflows, WORKFLOW_BATCH)
        await self.objects.delete_prefix(layout.collection_prefix(job.row.owner, collection_id))

        async def report() -> None:
            log.info("collection.purged", collection_id=collection_id, documents=removed)

        return Completion(after=report)

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        for it in completed:
            await repository.remove_collection(conn, it.row.subject_id)

    async def _remove_all(self, job: Job, remove: Callable[..., Awaitable[int]], limit: int) -> int:
        """In transactions of at most ``limit``: rows first, then the lease, for everybody locks in that order."""
        total = 0
        while True:
            async with job.transaction() as conn:
                removed = await remove(conn, job.row.subject_id, limit=limit)
            if not removed:
                return total
            total += removed
