"""Routes of API keys (contract 1.2)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.identity.apikeys.schemas import ApiKeyChange, ApiKeyCreate, ApiKeyList, ApiKeyView
from aperag_api.identity.services import Services
from aperag_api.kernel.auth import Manager, Unlimited

router = APIRouter(tags=["api keys"])


@router.get("/apikeys")
async def list_api_keys(caller: Unlimited, services: Services) -> ApiKeyList:
    return await services.api_keys.list(caller.user_id)


@router.post("/apikeys")
async def create_api_key(body: ApiKeyCreate, caller: Manager, services: Services) -> ApiKeyView:
    """The answer shows the key; nothing ever shows it again."""
    return await services.api_keys.create(caller.user_id, body)


@router.put("/apikeys/{key_id}")
async def update_api_key(key_id: str, body: ApiKeyChange, caller: Manager, services: Services) -> ApiKeyView:
    return await services.api_keys.update(caller.user_id, key_id, body.description)


@router.delete("/apikeys/{key_id}")
async def delete_api_key(key_id: str, caller: Unlimited, services: Services) -> bool | None:
    """Also for the role ``ro``: whoever may not write must still be able to stop a key that others have."""
    return await services.api_keys.delete(caller.user_id, key_id)
