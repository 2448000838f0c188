"""What everybody may do with published collections."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.access.decide import Verdict
from aperag_api.access.service import refusal
from aperag_api.kernel.reading import reading
from aperag_api.knowledge.marketplace import repository
from aperag_api.knowledge.marketplace.schemas import SharedCollection, SharedCollectionList, Unsubscribed
from aperag_common import errors, ids

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.paging import Page


@dataclass(frozen=True, slots=True)
class MarketplaceService:
    engine: AsyncEngine

    async def list(self, caller: Caller | None, *, subscribed: bool = False, page: Page) -> SharedCollectionList:
        """As far as the caller's key reaches."""
        async with reading(self.engine) as conn:
            rows, total = await repository.list_page(
                conn, _user_of(caller), reach=None if caller is None else caller.reach, subscribed=subscribed, page=page
            )
        return SharedCollectionList(items=rows, total=total, page=page.number, page_size=page.size)

    async def get(self, caller: Caller | None, collection_id: str) -> SharedCollection:
        async with reading(self.engine) as conn:
            row = await repository.get(conn, collection_id, _user_of(caller))
        if row is None:
            raise refusal(collection_id, Verdict.HIDDEN)
        return row

    async def subscribe(self, user_id: str, collection_id: str) -> SharedCollection:
        """A collection that is not published is no different from one that does not exist."""
        async with self.engine.begin() as conn:
            made = await repository.subscribe(
                conn, subscription_id=ids.new_subscription_id(), collection_id=collection_id, user_id=user_id
            )
            row = await repository.get(conn, collection_id, user_id)
            if row is None:
                raise errors.InvalidParameter(f"Collection {collection_id} is not published")
            if row.owner_user_id == user_id:
                message = f"Collection {collection_id} is your own: it is among yours without a subscription"
                raise errors.InvalidParameter(message)
            if not made:
                raise errors.Conflict(f"You have already subscribed to collection {collection_id}")
        return row

    async def unsubscribe(self, user_id: str, collection_id: str) -> Unsubscribed:
        """Idempotent: a subscription also ends when the collection is taken back."""
        async with self.engine.begin() as conn:
            await repository.unsubscribe(conn, collection_id, user_id)
        return Unsubscribed(message="You are not subscribed to this collection any more")


def _user_of(caller: Caller | None) -> str | None:
    return None if caller is None else caller.user_id
