"""Routes of searches (contract 1.5)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Reader, Writer
from aperag_api.knowledge.searches.schemas import SearchIn, SearchList, SearchOut
from aperag_api.knowledge.services import Services

router = APIRouter(prefix="/collections/{collection_id}/searches", tags=["searches"])


@router.post("")
async def search(collection_id: str, body: SearchIn, caller: Reader, services: Services) -> SearchOut:
    return await services.searches.search(caller.user_id, collection_id, body)


@router.get("")
async def list_searches(collection_id: str, caller: Reader, services: Services) -> SearchList:
    return await services.searches.list(caller.user_id, collection_id)


@router.delete("/{search_id}")
async def delete_search(collection_id: str, search_id: str, caller: Writer, services: Services) -> bool | None:
    return await services.searches.delete(caller.user_id, collection_id, search_id)
