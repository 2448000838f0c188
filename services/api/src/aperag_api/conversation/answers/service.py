"""Questions of clients that know neither turns nor events of ours: each is a turn all the same."""

from __future__ import annotations

import json
import time
import uuid
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from aperag_api.conversation.answers.frames import FlowFrames, frame
from aperag_api.conversation.answers.schemas import Body
from aperag_api.conversation.flows.stream import DebugStream
from aperag_api.conversation.turns.decide import Terms
from aperag_api.conversation.turns.schemas import AgentMessage, TurnState
from aperag_api.kernel.streaming.sse import comment
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aperag_api.conversation.bots.service import BotService
    from aperag_api.conversation.chats.service import ChatService
    from aperag_api.conversation.turns.schemas import TurnOut
    from aperag_api.conversation.turns.service import TurnService
    from aperag_api.kernel.auth import Caller

DEBUG_PEER, DEBUG_TITLE = "flow-debug", "Flow debug"
FRONTEND_PEER, FRONTEND_TITLE = "frontend", "Web"


@dataclass(frozen=True, slots=True)
class Asked:
    """Of one request of the web console; ``message_id`` is its own name for the question."""

    bot_id: str
    chat_id: str
    message_id: str
    body: bytes


@dataclass(frozen=True, slots=True)
class AnswerService:
    bots: BotService
    chats: ChatService
    turns: TurnService

    async def debug(self, caller: Caller, bot_id: str, query: str) -> AsyncGenerator[bytes, None]:
        """One run of the bot's flow as server-sent events; raises before the first where there is nothing to run."""
        chat = await self.chats.of_peer(caller.user_id, bot_id, DEBUG_PEER, DEBUG_TITLE)
        message = AgentMessage(query=query)
        turn = await self.turns.start(caller, bot_id, chat.id, message, Terms(messages=[], debug=True))
        return self._debugged(turn)

    async def message(self, caller: Caller, asked: Asked) -> dict[str, Any]:
        """The whole answer; what goes wrong is an answer too."""
        try:
            turn = await self._ask(caller, asked)
            ended = await self.turns.ended(caller.user_id, turn.id)
        except errors.ApeRAGError as err:
            return problem(err.message)
        if ended.state is TurnState.FAILED:
            return problem("The answer could not be made." if ended.error is None else ended.error.message)
        at = time.time() if ended.ended_at is None else ended.ended_at.timestamp()
        return frame("message", asked.message_id, at, data=ended.answer or "")

    async def stream(self, caller: Caller, asked: Asked) -> AsyncGenerator[bytes, None]:
        """The same as server-sent events."""
        try:
            turn = await self._ask(caller, asked)
        except errors.ApeRAGError as err:
            yield _sse(problem(err.message))
            return
        frames = FlowFrames(turn.message_id, turn.ordinal, socket=False)
        async with aclosing(self.turns.told(turn.id)) as batches:
            async for events in batches:
                yield b"".join(map(_sse, frames.of(events))) or comment("waiting")

    async def _ask(self, caller: Caller, asked: Asked) -> TurnOut:
        if not asked.bot_id:
            raise errors.InvalidParameter("bot_id is required")
        try:
            await self.bots.get(caller.user_id, asked.bot_id)
        except errors.BotNotFound as err:
            raise errors.BotNotFound("Bot not found") from err
        chat_id = asked.chat_id
        if not chat_id:
            chat_id = (await self.chats.of_peer(caller.user_id, asked.bot_id, FRONTEND_PEER, FRONTEND_TITLE)).id
        return await self.turns.start(caller, asked.bot_id, chat_id, _message(asked))

    async def _debugged(self, turn: TurnOut) -> AsyncGenerator[bytes, None]:
        stream = DebugStream()
        async with aclosing(self.turns.told(turn.id)) as batches:
            async for events in batches:
                yield b"".join(stream.frames(events)) or comment("waiting")


def problem(message: str) -> dict[str, Any]:
    return frame("error", str(uuid.uuid4()), time.time(), data=message)


def _message(asked: Asked) -> AgentMessage:
    """Of a text, or of JSON with the members ``message`` and ``files``; raises ``InvalidParameter``."""
    try:
        body = Body.read(asked.body)
        return AgentMessage(query=body.message, files=[{"id": it} for it in body.files], message_id=asked.message_id)
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False, include_context=False)[0]
        raise errors.InvalidParameter(f"{'.'.join(map(str, first['loc'])) or 'The body'}: {first['msg']}") from err


def _sse(shown: dict[str, Any]) -> bytes:
    return f"data: {json.dumps(shown, ensure_ascii=False, separators=(',', ':'))}\n\n".encode()
