"""Removes everything of a deleted user: collections by their own purges, then what else bears the user's name."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING

import structlog

from aperag_common.db.session import autocommit
from aperag_common.objects import layout
from aperag_common.work import changes, summaries
from aperag_common.work.driven_tables import USER_PURGE
from aperag_reconciler.users import repository

if TYPE_CHECKING:
    from aperag_common.events.commands import PurgeUser
    from aperag_common.objects.port import ObjectStore
    from aperag_common.work.driven import DrivenClaim, DrivenRows

log = structlog.get_logger(__name__)

BATCH = 1000
COLLECTIONS = 20
LOOKS_AGAIN = timedelta(seconds=2)


class _Late(Exception):
    """A request that came before the delete has added a collection."""


@dataclass(frozen=True, slots=True)
class UserPurge:
    """Every part may be repeated: a worker that dies leaves a smaller rest to the next."""

    rows: DrivenRows
    objects: ObjectStore
    first_due: timedelta

    async def handle(self, command: PurgeUser) -> None:
        user_id = command.data.user_id
        async with self.rows.claim(USER_PURGE, command) as held:
            while await self._delete_collections(held, user_id):
                pass
            async with autocommit(self.rows.engine) as conn:
                if await repository.has_collections(conn, user_id):
                    raise await held.put_off(LOOKS_AGAIN)
            removed = await self._remove_rows(held, user_id)
            await self.objects.delete_prefix(layout.owner_prefix(user_id))
            try:
                await self._finish(held, user_id)
            except _Late:
                held.ending_begun = False
                raise await held.put_off(LOOKS_AGAIN) from None
        log.info("user.purged", user_id=user_id, rows=removed)

    async def _finish(self, held: DrivenClaim, user_id: str) -> None:
        async with held.finish() as ending:
            if not await repository.remove_user(ending.conn, user_id):
                raise _Late

    async def _delete_collections(self, held: DrivenClaim, user_id: str) -> int:
        """Collections that are not deleted yet, as their owner would delete them, each with a purge of its own."""
        async with self.rows.engine.begin() as conn:
            found = await repository.living_collections(conn, user_id, limit=COLLECTIONS)
            deleted = [await changes.purge_collection(conn, it, user_id, first_due=self.first_due) for it in found]
            await summaries.remove(conn, found)
            await held.hold(conn)
        self.rows.courier.deliver(*deleted)
        return len(found)

    async def _remove_rows(self, held: DrivenClaim, user_id: str) -> int:
        total = 0
        for table in repository.OWNED:
            removed = BATCH
            while removed == BATCH:
                async with self.rows.engine.begin() as conn:
                    removed = await repository.remove_owned(conn, table, user_id, limit=BATCH)
                    await held.hold(conn)
                total += removed
        return total
