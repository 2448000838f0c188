"""Routes of API keys (contract 1.2)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.apikeys.schemas import ApiKeyChange, ApiKeyList, ApiKeyView
from aperag_api.auth import Reader, Writer
from aperag_api.gateway import Services

router = APIRouter(tags=["api keys"])


@router.get("/apikeys")
async def list_api_keys(caller: Reader, services: Services) -> ApiKeyList:
    return await services.api_keys.list(caller.user_id)


@router.post("/apikeys")
async def create_api_key(body: ApiKeyChange, caller: Writer, services: Services) -> ApiKeyView:
    return await services.api_keys.create(caller.user_id, body.description)


@router.put("/apikeys/{key_id}")
async def update_api_key(key_id: str, body: ApiKeyChange, caller: Writer, services: Services) -> ApiKeyView:
    return await services.api_keys.update(caller.user_id, key_id, body.description)


@router.delete("/apikeys/{key_id}")
async def delete_api_key(key_id: str, caller: Writer, services: Services) -> bool | None:
    return await services.api_keys.delete(caller.user_id, key_id)
