"""Opening, listing and deleting chats."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from aperag_api.access.chats import ids_of_chats
from aperag_api.conversation.chats import repository
from aperag_api.conversation.chats.history import groups_of
from aperag_api.conversation.chats.schemas import ChatDetails, ChatOut
from aperag_api.conversation.turns import repository as turns
from aperag_api.kernel.paging import Page, Paged
from aperag_api.kernel.reading import reading
from aperag_common import errors, ids, subjects
from aperag_common.jobs.steps import INDEX_STEPS
from aperag_work.document_rows import lock_all
from aperag_work.scheduler import ScheduleContext

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.scheduler import TaskScheduler

NEW = "New Chat"
LAST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ChatService:
    engine: AsyncEngine
    bus: Bus
    dispatcher: Dispatcher
    scheduler: TaskScheduler

    async def create(self, owner: str, bot_id: str, title: str | None) -> ChatOut:
        async with self.engine.begin() as conn:
            row = await repository.insert(conn, owner, bot_id, ids.new_chat_id(), title or NEW)
        if row is None:
            raise _no_bot(bot_id)
        return row

    async def of_peer(self, owner: str, bot_id: str, peer_id: str, title: str) -> ChatOut:
        """The one chat of the bot that is for this, made at its first use."""
        async with reading(self.engine) as conn:
            for _ in range(2):  # somebody else may have made it while this was about to
                row = await repository.of_peer(conn, owner, bot_id, peer_id, ids.new_chat_id(), title)
                if row is not None:
                    return row
        raise _no_bot(bot_id)

    async def page(self, owner: str, bot_id: str, *, page: Page) -> Paged[ChatOut]:
        async with reading(self.engine) as conn:
            total = await repository.count(conn, owner, bot_id)
            if total is None:
                raise _no_bot(bot_id)
            rows = await repository.page(conn, owner, bot_id, page=page)
        return Paged.of(rows, total=total, page=page)

    async def get(self, owner: str, bot_id: str, chat_id: str, *, before: int | None, limit: int) -> ChatDetails:
        """With the newest ``limit`` turns, or those before the ordinal ``before``."""
        async with reading(self.engine) as conn:
            row = _found(await repository.find(conn, owner, bot_id, chat_id), chat_id)
            found = await turns.history(conn, chat_id, before=LAST if before is None else before, limit=limit)
        earlier = found[0].ordinal if found and found[0].ordinal > 0 else None
        history = [group for turn in found for group in groups_of(turn)]
        return ChatDetails(**row.model_dump(), history=history, before=earlier)

    async def rename(self, owner: str, bot_id: str, chat_id: str, title: str) -> ChatOut:
        async with self.engine.begin() as conn:
            return _found(await repository.rename(conn, owner, bot_id, chat_id, title), chat_id)

    async def delete(self, owner: str, bot_id: str, chat_id: str) -> None:
        """With its turns and files; one that is not there is no error. An agent that runs one of them is told, or fenced off."""
        async with self.engine.begin() as conn:
            context = ScheduleContext(conn)
            running = await self.remove(owner, await repository.lock(conn, owner, bot_id, chat_id), context)
        await self.deliver(context, running)

    async def remove_all(self, owner: str, bot_id: str, context: ScheduleContext) -> Sequence[str]:
        """As ``remove``, every chat of a bot, which is locked."""
        return await self.remove(owner, await repository.lock_all(context.transaction, owner, bot_id), context)

    async def remove(self, owner: str, chat_ids: Sequence[str], context: ScheduleContext) -> Sequence[str]:
        """These chats, which are locked, so that nobody adds to them; returns turns that an agent runs."""
        files = await ids_of_chats(context.transaction, owner, chat_ids)
        await lock_all(context.transaction, files)
        for document_id in files:
            await self.scheduler.schedule_delete_index(document_id, INDEX_STEPS, context)
        return await repository.remove(context.transaction, owner, chat_ids)

    async def deliver(self, context: ScheduleContext, running: Sequence[str]) -> None:
        """After the commit of ``remove``. Best effort: an agent that hears nothing finds its job gone."""
        self.dispatcher.deliver(*context.changes.values())
        for turn_id in running:
            with suppress(NatsError, OSError):
                await self.bus.nc.publish(subjects.cancel_turn(turn_id))


def _no_bot(bot_id: str) -> errors.BotNotFound:
    return errors.BotNotFound(f"Bot {bot_id} not found")


def _found(row: ChatOut | None, chat_id: str) -> ChatOut:
    if row is None:
        raise errors.ChatNotFound(f"Chat {chat_id} not found")
    return row
