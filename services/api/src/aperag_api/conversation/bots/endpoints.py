"""Routes of bots (contract 1.7)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.conversation.bots.schemas import BotCreate, BotList, BotOut, BotUpdate
from aperag_api.conversation.services import Services
from aperag_api.kernel.auth import Reader, Writer

router = APIRouter(prefix="/bots", tags=["bots"])


@router.post("")
async def create_bot(body: BotCreate, caller: Writer, services: Services) -> BotOut:
    return await services.bots.create(caller.user_id, body)


@router.get("")
async def list_bots(caller: Reader, services: Services) -> BotList:
    return await services.bots.of_owner(caller.user_id)


@router.get("/{bot_id}")
async def get_bot(bot_id: str, caller: Reader, services: Services) -> BotOut:
    return await services.bots.get(caller.user_id, bot_id)


@router.put("/{bot_id}")
async def update_bot(bot_id: str, body: BotUpdate, caller: Writer, services: Services) -> BotOut:
    return await services.bots.update(caller.user_id, bot_id, body)


@router.delete("/{bot_id}", status_code=204)
async def delete_bot(bot_id: str, caller: Writer, services: Services) -> None:
    """With its chats and their turns; a second time is no error."""
    await services.bots.delete(caller.user_id, bot_id)
