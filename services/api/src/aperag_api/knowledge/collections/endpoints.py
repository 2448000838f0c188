"""Routes of collections (contract 1.3)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from aperag_api.kernel.auth import Reader, ScopedReader, Writer
from aperag_api.kernel.paging import LegacyList, Page, paged
from aperag_api.knowledge.collections.schemas import CollectionCreate, CollectionOut, CollectionUpdate, CollectionView
from aperag_api.knowledge.services import Services

router = APIRouter(tags=["collections"])


@router.post("/collections")
async def create_collection(body: CollectionCreate, caller: Writer, services: Services) -> CollectionOut:
    return await services.collections.create(caller.user_id, body)


@router.get("/collections")
async def list_collections(
    caller: ScopedReader,
    services: Services,
    page: Annotated[Page, paged(50, most=1000)],
    *,
    include_subscribed: bool = True,
) -> LegacyList[CollectionView]:
    return await services.collections.list(caller, subscribed=include_subscribed, page=page)


@router.get("/collections/{collection_id}")
async def get_collection(collection_id: str, caller: Reader, services: Services) -> CollectionOut:
    return await services.collections.get(caller.user_id, collection_id)


@router.put("/collections/{collection_id}")
async def update_collection(
    collection_id: str, body: CollectionUpdate, caller: Writer, services: Services
) -> CollectionOut:
    return await services.collections.update(caller.user_id, collection_id, body)


@router.delete("/collections/{collection_id}")
async def delete_collection(collection_id: str, caller: Writer, services: Services) -> CollectionOut:
    return await services.collections.delete(caller.user_id, collection_id)
