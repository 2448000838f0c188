"""Opening, listing and deleting chats."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from aperag_api.bots import repository as bots
from aperag_api.chat_documents import repository as chat_documents
from aperag_api.chats import repository
from aperag_api.chats.history import messages_of
from aperag_api.chats.schemas import ChatDetails, ChatOut
from aperag_api.paging import Paged
from aperag_api.reading import reading
from aperag_api.turns import repository as turns
from aperag_common import errors, ids
from aperag_common.bus import subjects
from aperag_common.work import changes
from aperag_common.work.documents import lock_all

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.chats.repository import ChatRow
    from aperag_common.bus.connection import Bus
    from aperag_common.work.change import Change
    from aperag_common.work.courier import Courier

NEW = "New Chat"
ACTIVE = "ACTIVE"
LAST = 2**31 - 1


@dataclass(frozen=True, slots=True)
class ChatService:
    engine: AsyncEngine
    bus: Bus
    courier: Courier
    first_due: timedelta

    async def create(self, owner: str, bot_id: str, title: str | None) -> ChatOut:
        async with self.engine.begin() as conn:
            row = await repository.insert(conn, owner, bot_id, ids.new_chat_id(), title or NEW)
        if row is None:
            message = f"Bot {bot_id} not found"
            raise errors.BotNotFound(message)
        return view(row)

    async def of_peer(self, owner: str, bot_id: str, peer_id: str, title: str) -> ChatOut:
        """The one chat of the bot that is for this, made at its first use."""
        async with reading(self.engine) as conn:
            for _ in range(2):  # somebody else may have made it while this was about to
                row = await repository.of_peer(conn, owner, bot_id, peer_id, ids.new_chat_id(), title)
                if row is not None:
                    return view(row)
        message = f"Bot {bot_id} not found"
        raise errors.BotNotFound(message)

    async def page(self, owner: str, bot_id: str, *, page: int, page_size: int) -> Paged[ChatOut]:
        async with reading(self.engine) as conn:
            if await bots.find(conn, owner, bot_id) is None:
                message = f"Bot {bot_id} not found"
                raise errors.BotNotFound(message)
            total = await repository.count(conn, owner, bot_id)
            rows = await repository.page(conn, owner, bot_id, limit=page_size, offset=(page - 1) * page_size)
        return Paged.of([view(row) for row in rows], total=total, page=page, page_size=page_size)

    async def get(self, owner: str, bot_id: str, chat_id: str, *, before: int | None, limit: int) -> ChatDetails:
        """With the newest ``limit`` turns, or those before the ordinal ``before``."""
        async with reading(self.engine) as conn:
            row = _found(await repository.find(conn, owner, bot_id, chat_id), chat_id)
            found = await turns.history(conn, chat_id, before=LAST if before is None else before, limit=limit)
        earlier = found[0].ordinal if found and found[0].ordinal > 0 else None
        history = [messages_of(turn) for turn in found]
        return ChatDetails(**view(row).model_dump(), history=history, before=earlier)

    async def rename(self, owner: str, bot_id: str, chat_id: str, title: str) -> ChatOut:
        async with self.engine.begin() as conn:
            return view(_found(await repository.rename(conn, owner, bot_id, chat_id, title), chat_id))

    async def delete(self, owner: str, bot_id: str, chat_id: str) -> None:
        """With its turns and files; one that is not there is no error. An agent that runs one of them is told, or fenced off."""
        async with self.engine.begin() as conn:
            gone = await remove(conn, owner, await repository.lock(conn, owner, bot_id, chat_id), self.first_due)
        self.courier.deliver(*gone.changes)
        await tell_agents(self.bus, gone.running)


@dataclass(frozen=True, slots=True)
class Removed:
    """``changes`` are to be delivered after the commit, and the agents of the ``running`` turns to be told."""

    changes: Sequence[Change] = ()
    running: Sequence[str] = ()


async def remove(conn: AsyncConnection, owner: str, chat_ids: Sequence[str], first_due: timedelta) -> Removed:
    """These chats, which are locked, so that nobody adds to them."""
    if not chat_ids:
        return Removed()
    files = await chat_documents.ids_of_chats(conn, owner, chat_ids)
    await lock_all(conn, files)
    changed = [await changes.delete(conn, it, first_due=first_due) for it in files]
    running = await repository.remove(conn, owner, chat_ids)
    return Removed([it for it in changed if it is not None], running)


async def tell_agents(bus: Bus, running: Sequence[str]) -> None:
    """Best effort: an agent that is not told finds its row gone."""
    for turn_id in running:
        with suppress(NatsError, OSError):
            await bus.nc.publish(subjects.cancel_turn(turn_id))


async def known(conn: AsyncConnection, owner: str, chat_id: str) -> ChatRow:
    """Of whichever bot of the owner's; raises ``ChatNotFound``."""
    return _found(await repository.find_own(conn, owner, chat_id), chat_id)


async def hold(conn: AsyncConnection, owner: str, chat_id: str) -> None:
    """Keep a chat from being deleted until this transaction ends; raises ``ChatNotFound``."""
    if not await repository.hold(conn, owner, chat_id):
        raise _not_found(chat_id)


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


def _found(row: ChatRow | None, chat_id: str) -> ChatRow:
    if row is None:
        raise _not_found(chat_id)
    return row


def _not_found(chat_id: str) -> errors.ChatNotFound:
    message = f"Chat {chat_id} not found"
    return errors.ChatNotFound(message)
