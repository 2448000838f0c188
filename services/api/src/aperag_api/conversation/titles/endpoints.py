"""The route that names a chat (contract 1.8)."""

from __future__ import annotations

from fastapi import APIRouter

from aperag_api.conversation.services import Services
from aperag_api.conversation.titles.schemas import TitleOut, TitleRequest
from aperag_api.kernel.auth import Writer

router = APIRouter(prefix="/bots/{bot_id}/chats/{chat_id}/title", tags=["chats"])


@router.post("")
async def name_chat(
    bot_id: str, chat_id: str, caller: Writer, services: Services, body: TitleRequest | None = None
) -> TitleOut:
    """Of what was said first; 400 with the reason where it cannot be named."""
    return await services.titles.name(caller.user_id, bot_id, chat_id, body or TitleRequest())
