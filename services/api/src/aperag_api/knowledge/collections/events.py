"""What is published of collections."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_common.events.fact import CollectionStateData
from aperag_work import outbox

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.access.repository import CollectionRow
    from aperag_common.events.fact import CollectionFact
    from aperag_work.outbox import OutboxEvent

SOURCE = "api"


async def record(
    conn: AsyncConnection, fact: type[CollectionFact], collection: CollectionRow
) -> tuple[OutboxEvent, ...]:
    """Into the transaction that makes it true; to be delivered after it."""
    data = CollectionStateData(collection_id=collection.id, title=collection.title)
    return await outbox.record(conn, fact.of(data, source=SOURCE, subject=collection.id, owner=collection.owner))
