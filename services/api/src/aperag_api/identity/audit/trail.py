"""The audit log as calls write it: what is meant before anything is done, what came of it before it is answered."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from aperag_api.identity.audit import repository
from aperag_common.db.session import UNAVAILABLE, autocommit
from aperag_work.batching import Batcher

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.identity.audit.repository import Entry

log = structlog.get_logger(__name__)

Write = Callable[["AsyncConnection", Sequence["Entry"]], Awaitable[None]]


class AuditTrail:
    """Calls that come close together share a statement; a lone one waits for nobody."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._beginning: Batcher[Entry, None] = Batcher(self._writing(repository.begin))
        self._ending: Batcher[Entry, None] = Batcher(self._writing(repository.end))

    async def begin(self, entry: Entry) -> None:
        """Raises where it cannot be written: what leaves no trace is not done."""
        await self._beginning.submit(entry)

    async def end(self, entry: Entry) -> None:
        """Never raises: what was done cannot be undone, and its intent is on record."""
        try:
            await self._ending.submit(entry)
        except (SQLAlchemyError, OSError, *UNAVAILABLE):
            log.exception(
                "audit.outcome_unrecorded",
                entry=entry.id,
                api_name=entry.api_name,
                path=entry.path,
                user_id=entry.user_id,
                status_code=entry.status_code,
            )

    def _writing(self, write: Write) -> Callable[[Sequence[Entry]], Awaitable[Sequence[None]]]:
        async def run(entries: Sequence[Entry]) -> Sequence[None]:
            async with autocommit(self._engine) as conn:
                await write(conn, entries)
            return [None] * len(entries)

        return run
