"""Publishing a collection, so that others may read and search it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access.service import living
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.collections.events import record
from aperag_api.knowledge.collections.service import DOCUMENT_TYPE
from aperag_api.knowledge.sharing import repository
from aperag_api.knowledge.sharing.schemas import SharingOut
from aperag_common import errors
from aperag_common.events import facts
from aperag_work.change import Change
from aperag_work.changes import share_collection

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_work.dispatcher import Dispatcher


@dataclass(frozen=True, slots=True)
class SharingService:
    engine: AsyncEngine
    dispatcher: Dispatcher

    async def get(self, owner: str, collection_id: str) -> SharingOut:
        async with reading(self.engine) as conn:
            row = await living(conn, collection_id, owner)
        return SharingOut(is_published=row.published_at is not None, published_at=row.published_at)

    async def publish(self, owner: str, collection_id: str) -> None:
        async with self.engine.begin() as conn:
            row = await living(conn, collection_id, owner)
            if row.type != DOCUMENT_TYPE:
                message = f"Collection {collection_id} holds the documents of chats: it stays private"
                raise errors.InvalidParameter(message)
            await share_collection(conn, collection_id, owner)
            made = await repository.publish(conn, collection_id)
            events = await record(conn, facts.CollectionShared, row) if made else ()
        self.dispatcher.deliver(Change((), events))

    async def take_back(self, owner: str, collection_id: str) -> None:
        """From the commit on nobody else reads it; what was not published stays so."""
        async with self.engine.begin() as conn:
            row = await living(conn, collection_id, owner)
            ended = await repository.take_back(conn, collection_id)
            events = await record(conn, facts.CollectionUnshared, row) if ended else ()
        self.dispatcher.deliver(Change((), events))
