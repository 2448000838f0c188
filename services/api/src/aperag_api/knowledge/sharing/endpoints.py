"""Routes of sharing (contract 1.3)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.kernel.auth import Manager, Reader
from aperag_api.knowledge.services import Services
from aperag_api.knowledge.sharing.schemas import SharingOut

router = APIRouter(prefix="/collections/{collection_id}/sharing", tags=["sharing"])


@router.get("")
async def get_sharing(collection_id: str, caller: Reader, services: Services) -> SharingOut:
    return await services.sharing.get(caller.user_id, collection_id)


@router.post("", status_code=204)
async def publish_collection(collection_id: str, caller: Manager, services: Services) -> None:
    """Everybody may find, read and search it from now on, and subscribe to it."""
    await services.sharing.publish(caller.user_id, collection_id)


@router.delete("", status_code=204)
async def unpublish_collection(collection_id: str, caller: Manager, services: Services) -> None:
    """Nobody else reads it any more; subscriptions end."""
    await services.sharing.take_back(caller.user_id, collection_id)
