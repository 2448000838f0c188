"""Routes of chats (contract 1.8)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request

from aperag_api.conversation.chats.schemas import ChatCreate, ChatDetails, ChatOut, ChatUpdate
from aperag_api.conversation.services import Services
from aperag_api.kernel.auth import Reader, Writer
from aperag_api.kernel.paging import Page, Paged, paged

router = APIRouter(prefix="/bots/{bot_id}/chats", tags=["chats"])


_BODY = {"requestBody": {"content": {"application/json": {"schema": ChatCreate.model_json_schema()}}}}


@router.post("", openapi_extra=_BODY)
async def create_chat(bot_id: str, request: Request, caller: Writer, services: Services) -> ChatOut:
    """Any body will do: one with a title names the chat."""
    return await services.chats.create(caller.user_id, bot_id, ChatCreate.title_in(await request.body()))


@router.get("")
async def list_chats(
    bot_id: str, caller: Reader, services: Services, page: Annotated[Page, paged(50, most=100)]
) -> Paged[ChatOut]:
    return await services.chats.page(caller.user_id, bot_id, page=page)


@router.get("/{chat_id}")
async def get_chat(
    bot_id: str,
    chat_id: str,
    caller: Reader,
    services: Services,
    before: Annotated[int | None, Query(ge=0, le=2**31 - 1, description="only turns before this one")] = None,
    turns: Annotated[int, Query(ge=1, le=1000, description="most turns of the history, the newest ones")] = 100,
) -> ChatDetails:
    return await services.chats.get(caller.user_id, bot_id, chat_id, before=before, limit=turns)


@router.put("/{chat_id}")
async def update_chat(bot_id: str, chat_id: str, body: ChatUpdate, caller: Writer, services: Services) -> ChatOut:
    return await services.chats.rename(caller.user_id, bot_id, chat_id, body.title)


@router.delete("/{chat_id}", status_code=204)
async def delete_chat(bot_id: str, chat_id: str, caller: Writer, services: Services) -> None:
    """With its turns; a second time is no error."""
    await services.chats.delete(caller.user_id, bot_id, chat_id)
