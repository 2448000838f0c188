"""One connection of one client to one chat.

Its questions are answered one after the other. It may be lost and come back: what is being answered goes on, and is told
from its beginning, as a ``start`` says, where the client asks for that.
"""

from __future__ import annotations

import asyncio
import secrets
import time
import uuid
from contextlib import aclosing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from aperag_api.conversation.answers.frames import AgentFrames, FlowFrames, frame
from aperag_api.conversation.bots.service import FLOWING
from aperag_api.conversation.sockets.inbound import Cancel, NotUnderstood, read
from aperag_api.conversation.sockets.texts import Problem, text_of
from aperag_api.conversation.turns.preparation import FlowConfigNotFound
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aperag_api.conversation.turns.schemas import AgentMessage, TurnOut
    from aperag_api.conversation.turns.service import TurnService
    from aperag_api.kernel.auth import Caller

log = structlog.get_logger(__name__)

MOST_WAITING = 16
"""Questions of one connection that wait for the one before them."""


class HungUp(Exception):
    """Raised by the frames of a client that closed its connection on purpose."""


@dataclass(slots=True)
class ChatSession:
    """``send`` sends one frame, and nothing to a client that is gone; ``admit`` raises where its caller may not ask now."""

    caller: Caller
    bot_id: str
    bot_type: str
    chat_id: str
    turns: TurnService
    send: Callable[[dict[str, Any]], Awaitable[None]]
    admit: Callable[[], Awaitable[None]]
    _waiting: asyncio.Queue[AgentMessage] = field(default_factory=lambda: asyncio.Queue(MOST_WAITING))
    _followed: dict[str, tuple[str, asyncio.Event]] = field(default_factory=dict)
    _cancelled: set[str] = field(default_factory=set)
    _pending: list[str] = field(default_factory=list)
    _beginning: asyncio.Task[TurnOut | None] | None = None

    @property
    def flow(self) -> bool:
        return self.bot_type in FLOWING

    async def run(self, frames: AsyncIterator[str], *, resume: bool) -> None:
        """Until the client goes. Its turns go on without it, unless it hung up."""
        answering = asyncio.create_task(self._answer())
        reading = asyncio.create_task(self._read(frames))
        tasks = {answering, reading}
        try:
            if resume:
                open_turns = await self.turns.open_in(self.caller.user_id, self.chat_id)
                tasks |= {asyncio.create_task(self._follow(turn)) for turn in open_turns}
            # Answering ends by a failure only: a connection that answers nothing any more is better closed.
            done, _ = await asyncio.wait({answering, reading}, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.wait(tasks if self._beginning is None else {*tasks, self._beginning})

    async def _read(self, frames: AsyncIterator[str]) -> None:
        try:
            async for text in frames:
                await self._take(text)
        except HungUp:
            await self._leave()

    async def _leave(self) -> None:
        """What it asked and is not answered yet is stopped; what waits is not asked."""
        while not self._waiting.empty():
            self._pending.remove(str(self._waiting.get_nowait().message_id))
        await self._cancel(Cancel(None))
        if self._beginning is not None:
            await asyncio.wait({self._beginning})

    async def _take(self, text: str) -> None:
        try:
            asked = read(text, flow=self.flow)
        except NotUnderstood as err:
            await self._problem(text_of(err.problem, err.language) + (f": {err.detail}" if err.detail else ""))
            return
        if isinstance(asked, Cancel):
            await self._cancel(asked)
            return
        asked = asked.model_copy(update={"message_id": asked.message_id or secrets.token_hex(16)})
        try:
            self._waiting.put_nowait(asked)
        except asyncio.QueueFull:
            await self._problem(text_of(Problem.TOO_MANY, asked.language), asked.message_id)
        else:
            self._pending.append(str(asked.message_id))

    async def _answer(self) -> None:
        while True:
            message = await self._waiting.get()
            try:
                # Whole also where the client goes meanwhile: what is begun is known, and can be stopped.
                self._beginning = asyncio.create_task(self._begin(message))
                if (turn := await asyncio.shield(self._beginning)) is not None:
                    await self._follow(turn)
            finally:
                self._pending.remove(str(message.message_id))
                self._cancelled.discard(str(message.message_id))

    async def _begin(self, message: AgentMessage) -> TurnOut | None:
        """None where it cannot be asked, which the client is told."""
        try:
            await self.admit()
            turn = await self.turns.start(self.caller, self.bot_id, self.chat_id, message)
            if turn.message_id in self._cancelled:
                await self._stop(turn.id)
        except FlowConfigNotFound:
            await self._problem(text_of(Problem.FLOW, message.language), message.message_id)
        except errors.ApeRAGError as err:
            await self._problem(err.message, message.message_id)
        except (SQLAlchemyError, OSError):
            log.exception("socket.question_failed", chat_id=self.chat_id)
            await self._problem(text_of(Problem.UNKNOWN, message.language), message.message_id)
        else:
            return turn
        return None

    async def _follow(self, turn: TurnOut) -> None:
        """Told once on a connection, however often it is asked for there."""
        if (followed := self._followed.get(turn.message_id)) is not None:
            await followed[1].wait()
            return
        ended = asyncio.Event()
        self._followed[turn.message_id] = turn.id, ended
        shown = FlowFrames(turn.message_id, turn.ordinal, socket=True) if self.flow else AgentFrames(turn.message_id)
        try:
            async with aclosing(self.turns.told(turn.id)) as batches:
                async for events in batches:
                    for told in shown.of(events):
                        await self.send(told)
        finally:
            ended.set()
            del self._followed[turn.message_id]

    async def _cancel(self, wanted: Cancel) -> None:
        """What waits for its turn is begun, and cancelled at once: its history says so."""
        here = [*self._followed, *self._pending]
        for message_id in dict.fromkeys(here if wanted.message_id is None else [wanted.message_id]):
            if (followed := self._followed.get(message_id)) is not None:
                await self._stop(followed[0])
            elif message_id in self._pending:
                self._cancelled.add(message_id)

    async def _stop(self, turn_id: str) -> None:
        try:
            await self.turns.cancel(self.caller.user_id, turn_id)
        except (errors.ApeRAGError, SQLAlchemyError, OSError) as err:
            log.info("socket.not_cancelled", turn_id=turn_id, error=repr(err))

    async def _problem(self, message: str, message_id: str | None = None) -> None:
        named = "error" if not self.flow else message_id or str(uuid.uuid4())
        await self.send(frame("error", named, time.time(), data=message))
