"""Opening, listing and deleting chats."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from aperag_api.bots.service import known as known_bot
from aperag_api.chats import repository
from aperag_api.chats.history import messages_of
from aperag_api.chats.schemas import ChatDetails, ChatOut
from aperag_api.paging import Paged
from aperag_api.reading import reading
from aperag_api.turns import repository as turns
from aperag_common import errors, ids
from aperag_common.bus import subjects

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.chats.repository import ChatRow
    from aperag_common.bus.connection import Bus

NEW = "New Chat"
ACTIVE = "ACTIVE"
LAST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ChatService:
    engine: AsyncEngine
    bus: Bus

    async def create(self, owner: str, bot_id: str, title: str | None) -> ChatOut:
        async with self.engine.begin() as conn:
            row = await repository.insert(conn, owner, bot_id, ids.new_chat_id(), title or NEW)
        if row is None:
            message = f"Bot {bot_id} not found"
            raise errors.BotNotFound(message)
        return view(row)

    async def page(self, owner: str, bot_id: str, *, page: int, page_size: int) -> Paged[ChatOut]:
        async with reading(self.engine) as conn:
            await known_bot(conn, owner, bot_id)
            total = await repository.count(conn, owner, bot_id)
            rows = await repository.page(conn, owner, bot_id, limit=page_size, offset=(page - 1) * page_size)
        return Paged.of([view(row) for row in rows], total=total, page=page, page_size=page_size)

    async def get(self, owner: str, bot_id: str, chat_id: str, *, before: int | None, limit: int) -> ChatDetails:
        """With the newest ``limit`` turns, or those before the ordinal ``before``."""
        async with reading(self.engine) as conn:
            row = _known(await repository.find(conn, owner, bot_id, chat_id), chat_id)
            found = await turns.history(conn, chat_id, before=LAST if before is None else before, limit=limit)
        earlier = found[0].ordinal if found and found[0].ordinal > 0 else None
        history = [messages_of(turn) for turn in found]
        return ChatDetails(**view(row).model_dump(), history=history, before=earlier)

    async def rename(self, owner: str, bot_id: str, chat_id: str, title: str) -> ChatOut:
        async with self.engine.begin() as conn:
            return view(_known(await repository.rename(conn, owner, bot_id, chat_id, title), chat_id))

    async def delete(self, owner: str, bot_id: str, chat_id: str) -> None:
        """With its turns; one that is not there is no error. An agent that runs one of them is told, or fenced off."""
        async with self.engine.begin() as conn:
            running = await repository.remove(conn, owner, bot_id, chat_id)
        for turn_id in running:
            with suppress(NatsError, OSError):
                await self.bus.nc.publish(subjects.cancel_turn(turn_id))


def view(row: ChatRow) -> ChatOut:
    return ChatOut(
        id=row.id,
        title=row.title,
        bot_id=row.bot_id,
        peer_type=row.peer_type,
        peer_id=row.peer_id,
        status=ACTIVE,
        created=row.created,
        updated=row.updated,
    )


def _known(row: ChatRow | None, chat_id: str) -> ChatRow:
    if row is None:
        message = f"Chat {chat_id} not found"
        raise errors.ChatNotFound(message)
    return row
