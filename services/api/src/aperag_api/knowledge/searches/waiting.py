"""Read-your-writes: a search that waits until what was just uploaded can be found."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.kernel.reading import reading
from aperag_api.kernel.streaming.fanout import Signal
from aperag_api.knowledge.searches import repository

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.streaming.fanout import Fanout, Listener
    from aperag_api.knowledge.searches.repository import Readiness

POLL_SECONDS = 0.5
"""Events only save time: the rows are looked at this often anyway."""


@dataclass(frozen=True, slots=True)
class Waiter:
    engine: AsyncEngine
    fanout: Fanout

    async def not_searchable(
        self, owner: str, collection_id: str, awaited: Sequence[str], kinds: Sequence[str], *, seconds: float
    ) -> list[str]:
        """Waits until none of ``awaited`` has pending work for ``kinds``; the ids that searches do not see then."""
        deadline = asyncio.get_running_loop().time() + seconds
        # Listening starts before the first look, so nothing can settle unseen in between.
        with self.fanout.listen(owner) as listener:
            while True:
                found = await self._look(owner, collection_id, awaited, kinds)
                pending = {r.document_id for r in found if r.pending}
                left = deadline - asyncio.get_running_loop().time()
                if not pending or left <= 0:
                    break
                await _until_news(listener, pending, seconds=min(left, POLL_SECONDS))
        seen = {r.id for r in found if r.served and not r.pending}
        return [id_ for id_ in dict.fromkeys(awaited) if id_ not in seen]

    async def _look(
        self, owner: str, collection_id: str, awaited: Sequence[str], kinds: Sequence[str]
    ) -> list[Readiness]:
        async with reading(self.engine) as conn:
            return await repository.readiness(conn, collection_id, owner, awaited, kinds)


async def _until_news(listener: Listener, documents: set[str], *, seconds: float) -> None:
    """Returns at the first event of one of ``documents``, or after ``seconds``."""
    try:
        async with asyncio.timeout(seconds):
            while True:
                for item in await listener.take():
                    if isinstance(item, Signal) or item.document_id in documents:
                        return
    except TimeoutError:
        return
