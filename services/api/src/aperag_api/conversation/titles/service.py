"""Naming a chat: by a model where there is one, else by its first question."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fastapi import HTTPException

from aperag_api.conversation.chats import repository as chats
from aperag_api.conversation.titles.decide import cleaned, first_words, messages
from aperag_api.conversation.titles.schemas import TitleOut
from aperag_api.conversation.turns import repository as turns
from aperag_api.kernel.reading import reading
from aperag_common import errors
from aperag_models.clients.completions import complete
from aperag_models.refs import Scenario

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.conversation.titles.schemas import TitleRequest
    from aperag_api.conversation.turns.repository import TurnRow
    from aperag_models.catalog import Models

SECONDS = 30.0
TOKENS = 200


@dataclass(frozen=True, slots=True)
class TitleService:
    engine: AsyncEngine
    models: Models

    async def name(self, owner: str, bot_id: str, chat_id: str, wanted: TitleRequest) -> TitleOut:
        """The chat has the title from then on; raises ``HTTPException`` 400 with the reason where there is none."""
        try:
            said = await self._said(owner, bot_id, chat_id, wanted.turns)
            title = await self._written(owner, said, wanted) or first_words(said[0].question, wanted.max_length)
            async with self.engine.begin() as conn:
                if await chats.rename(conn, owner, bot_id, chat_id, title) is None:
                    raise _no_chat(chat_id)
        except errors.ChatNotFound:
            raise
        except errors.ApeRAGError as err:
            raise HTTPException(400, {"error_code": err.error_code, "message": err.message}) from err
        return TitleOut(title=title)

    async def _said(self, owner: str, bot_id: str, chat_id: str, limit: int) -> Sequence[TurnRow]:
        async with reading(self.engine) as conn:
            if await chats.find(conn, owner, bot_id, chat_id) is None:
                raise _no_chat(chat_id)
            said = await turns.first(conn, chat_id, limit=limit)
        if not said:
            raise errors.MessageNotFound("Nothing was said in this chat yet, so there is nothing to name it by")
        return said

    async def _written(self, owner: str, said: Sequence[TurnRow], wanted: TitleRequest) -> str:
        """Empty where the built-in model is meant, or the model answered with nothing."""
        endpoint = await self.models.completion(owner, await self.models.default(Scenario.BACKGROUND_TASK))
        if endpoint is None:
            return ""
        asked = messages(said, max_length=wanted.max_length, language=wanted.language)
        try:
            async with asyncio.timeout(SECONDS):
                return cleaned(await complete(endpoint, asked, max_tokens=TOKENS), wanted.max_length)
        except TimeoutError as err:
            message = f"The model {endpoint.provider}/{endpoint.model} did not answer within {SECONDS:g} s"
            raise errors.Busy(message) from err


def _no_chat(chat_id: str) -> errors.ChatNotFound:
    return errors.ChatNotFound(f"Chat {chat_id} not found")
