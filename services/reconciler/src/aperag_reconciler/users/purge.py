"""Removes everything of a deleted user: collections by their own purges, then what else bears the user's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from aperag_common.objects import layout
from aperag_reconciler.users import repository
from aperag_work import changes, summaries
from aperag_work.completion import Completion

if TYPE_CHECKING:
    from aperag_common.objects.port import ObjectStore
    from aperag_work.job import Job

log = structlog.get_logger(__name__)

BATCH = 1000
COLLECTIONS = 20
LOOKS_AGAIN = timedelta(seconds=2)


@dataclass(frozen=True, slots=True)
class UserPurge:
    """Every part may be repeated: a worker that dies leaves a smaller rest to the next."""

    objects: ObjectStore
    first_due: timedelta
    source: str

    async def run(self, job: Job) -> Completion:
        user_id = job.row.subject_id
        while await self._delete_collections(job, user_id):
            pass
        async with job.transaction() as conn:
            left = await repository.has_collections(conn, user_id)
        if left:
            raise await job.put_off(LOOKS_AGAIN)
        removed = await self._remove_rows(job, user_id)
        await self.objects.delete_prefix(layout.owner_prefix(user_id))
        async with job.transaction() as conn:
            # A request that came before the delete may have added a collection.
            gone = await repository.remove_user(conn, user_id)
        if not gone:
            raise await job.put_off(LOOKS_AGAIN)
        log.info("user.purged", user_id=user_id, rows=removed)
        return Completion()

    async def _delete_collections(self, job: Job, user_id: str) -> int:
        """Collections that are not deleted yet, as their owner would delete them, each with a purge of its own."""
        async with job.transaction() as conn:
            found = await repository.living_collections(conn, user_id, limit=COLLECTIONS)
            deleted = [
                await changes.purge_collection(conn, it, user_id, first_due=self.first_due, source=self.source)
                for it in found
            ]
            await summaries.remove(conn, found)
        job.engine.dispatcher.deliver(*deleted)
        return len(found)

    async def _remove_rows(self, job: Job, user_id: str) -> int:
        total = 0
        for table in repository.OWNED:
            removed = BATCH
            while removed == BATCH:
                async with job.transaction() as conn:
                    removed = await repository.remove_owned(conn, table, user_id, limit=BATCH)
                total += removed
        return total
