"""Changes of embedding model: vectors of the wanted one are built, it takes over, and the other one's are removed."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_common.db.models import WorkflowKind
from aperag_common.jobs.steps import StepKind
from aperag_reconciler.switches import repository
from aperag_work import switching
from aperag_work.document_rows import lock_all
from aperag_work.opening import begin

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_work.change import Change
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.opening import Admission
    from aperag_work.switching import Switching

log = structlog.get_logger(__name__)

BATCH = 25
"""Documents changed in one transaction: who works on any of them waits for all."""
MOST_DOCUMENTS = 1000
"""Of one collection that are begun in one run: the next one is never far, and other collections wait for this one."""
MOST_ROWS = 2000


@dataclass(frozen=True, slots=True)
class Switches:
    """Two at once, or one that was stopped in the middle, do no harm: each part brings rows to what they must be.

    ``grace`` is how long rows outlive their model's turn: a search that began before reads them to its end.
    """

    engine: AsyncEngine
    dispatcher: Dispatcher
    admission: Admission
    grace: timedelta

    async def run(self) -> None:
        async with self.engine.connect() as conn:
            found = await switching.switching(conn)
        for collection_id in found:
            await self._advance(collection_id)

    async def _advance(self, collection_id: str) -> None:
        begun = await self._build(collection_id)
        async with self.engine.begin() as conn:
            collection = await switching.hold(conn, collection_id, self.grace)
        if collection is None:
            return
        if begun:
            log.info("switch.documents_begun", collection_id=collection_id, documents=begun)
        if collection.wanted_model is None:
            await self._tidy(collection)
        else:
            await self._flip(collection_id, collection.wanted_model)

    async def _build(self, collection_id: str) -> int:
        async with self.engine.begin() as conn:
            collection = await switching.hold(conn, collection_id, self.grace)
            found = [] if collection is None else await switching.unbuilt(conn, collection, limit=MOST_DOCUMENTS)
        begun = 0
        for at in range(0, len(found), BATCH):
            changed = await self._begin(collection_id, found[at : at + BATCH])
            self.dispatcher.deliver(*changed)
            begun += len(changed)
        return begun

    async def _begin(self, collection_id: str, document_ids: Sequence[str]) -> list[Change]:
        """The collection is held first, then its documents, then all is judged anew."""
        async with self.engine.begin() as conn:
            collection = await switching.hold(conn, collection_id, self.grace)
            if collection is None:
                return []
            documents = await lock_all(conn, document_ids)
            meant = await switching.unbuilt(conn, collection, limit=BATCH, among=list(documents))
            if not meant:
                return []
            wanted = [documents[id_] for id_ in meant]
            return await begin(conn, wanted, WorkflowKind.REBUILD, (StepKind.VECTOR,), self.admission)

    async def _flip(self, collection_id: str, wanted: str) -> None:
        async with self.engine.begin() as conn:
            flipped = await switching.flip(conn, collection_id, wanted)
        if flipped:
            log.info("switch.flipped", collection_id=collection_id, model=wanted)

    async def _tidy(self, collection: Switching) -> None:
        if not collection.quiet:
            return
        removed = 0
        while (batch := await self._remove(collection.id)) is not None:
            removed += batch
        async with self.engine.begin() as conn:
            settled = await switching.settle(conn, collection)
        if settled:
            log.info("switch.settled", collection_id=collection.id, model=collection.active_model, rows_removed=removed)

    async def _remove(self, collection_id: str) -> int | None:
        """None when no row of another model is left, or its models have changed again."""
        async with self.engine.begin() as conn:
            collection = await switching.hold(conn, collection_id, self.grace)
            if collection is None or collection.wanted_model is not None or not collection.quiet:
                return None
            model = collection.active_model
            left = await repository.leftovers(conn, collection_id, model, limit=MOST_ROWS)
            documents = await lock_all(conn, left)
            return await repository.remove_leftovers(conn, list(documents), model) if documents else None
