"""A completion is a turn: of the chat that it names, or of the one that the bot has for programs."""

from __future__ import annotations

from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.conversation.openai.chunks import Chunks, usage_of
from aperag_api.conversation.openai.schemas import AnswerMessage, Choice, Completion, Model, ModelList
from aperag_api.conversation.turns.decide import Terms
from aperag_api.conversation.turns.schemas import AgentMessage, TurnState
from aperag_api.kernel.openai_failures import TurnFailure
from aperag_api.kernel.streaming.sse import comment
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

    from aperag_api.conversation.bots.schemas import BotOut
    from aperag_api.conversation.bots.service import BotService
    from aperag_api.conversation.chats.service import ChatService
    from aperag_api.conversation.openai.schemas import CompletionRequest
    from aperag_api.conversation.turns.schemas import TurnOut
    from aperag_api.conversation.turns.service import TurnService
    from aperag_api.kernel.auth import Caller

PEER, TITLE = "openai", "OpenAI API"
_ROLES = {"system": "system", "developer": "system", "assistant": "assistant"}


@dataclass(frozen=True, slots=True)
class CompletionService:
    bots: BotService
    chats: ChatService
    turns: TurnService

    async def models(self, owner: str) -> ModelList:
        return ModelList(data=[_model(bot) for bot in (await self.bots.of_owner(owner)).items])

    async def model(self, owner: str, model_id: str) -> Model:
        """Raises ``BotNotFound``."""
        return _model(await self._bot(owner, model_id))

    async def begin(self, caller: Caller, bot_id: str, chat_id: str, wanted: CompletionRequest) -> TurnOut:
        """``bot_id`` may be empty where the model is a bot's id or title.

        In a chat of the caller's the chat knows what was said before; elsewhere the client's messages do.
        """
        message = _question(wanted)
        bot = await self._bot(caller.user_id, bot_id or wanted.model, named=bool(bot_id))
        settings = _settings(wanted)
        if chat_id:
            terms = Terms(settings=settings)
        else:
            chat_id = (await self.chats.of_peer(caller.user_id, bot.id, PEER, TITLE)).id
            terms = Terms(messages=_before(wanted), settings=settings)
        return await self.turns.start(caller, bot.id, chat_id, message, terms)

    async def whole(self, owner: str, turn: TurnOut) -> Completion:
        """Raises ``TurnFailure`` where there is no answer."""
        ended = await self.turns.ended(owner, turn.id)
        if ended.state is TurnState.FAILED:
            reason = ended.error
            if reason is None:
                raise TurnFailure("The answer could not be made.")
            raise TurnFailure(reason.message, code=reason.code)
        return Completion(
            id=_id(turn),
            created=int(turn.created.timestamp()),
            choices=[Choice(message=AnswerMessage(content=ended.answer or ""))],
            usage=usage_of(ended.usage),
            references=await self.turns.references(owner, turn.id),
        )

    async def chunks(self, turn: TurnOut, *, with_usage: bool) -> AsyncGenerator[bytes, None]:
        chunks = Chunks(_id(turn), int(turn.created.timestamp()), with_usage)
        async with aclosing(self.turns.told(turn.id)) as batches:
            async for events in batches:
                yield b"".join(chunks.of(events)) or comment("waiting")

    async def _bot(self, owner: str, name: str, *, named: bool = True) -> BotOut:
        """By its id, or by a title that only one of the owner's bots has."""
        bots = (await self.bots.of_owner(owner)).items
        found = [bot for bot in bots if bot.id == name] or [bot for bot in bots if bot.title == name]
        if len(found) == 1:
            return found[0]
        if not named:
            raise errors.InvalidParameter("bot_id is required: give it in the query, or name a bot as the model")
        raise errors.BotNotFound("Bot not found")


def _model(bot: BotOut) -> Model:
    return Model(id=bot.id, created=int(bot.created.timestamp()), title=bot.title)


def _id(turn: TurnOut) -> str:
    return f"chatcmpl-{turn.id}"


def _question(wanted: CompletionRequest) -> AgentMessage:
    """Raises ``InvalidParameter``."""
    last = wanted.messages[-1]
    query = last.text.strip()
    if (wanted.n or 1) > 1:
        raise _refused("n", "one answer at a time is made here")
    if wanted.tools or wanted.functions:
        raise _refused("tools", "a bot uses tools of its own, and calls none of the client's")
    if last.role != "user" or not query:
        raise _refused("messages", "the last one must be the user's, with a text")
    if len(query) > MOST_CHARACTERS:
        raise _refused("messages", f"a question has at most {MOST_CHARACTERS} characters")
    return AgentMessage(query=query)


def _refused(param: str, reason: str) -> errors.InvalidParameter:
    return errors.InvalidParameter(f"{param}: {reason}", details={"param": param})


MOST_CHARACTERS = 32_000


def _before(wanted: CompletionRequest) -> list[dict[str, str]]:
    return [{"role": _ROLES.get(it.role, "user"), "content": it.text} for it in wanted.messages[:-1] if it.text]


def _settings(wanted: CompletionRequest) -> dict[str, float | int]:
    most = wanted.max_completion_tokens or wanted.max_tokens
    given = {"temperature": wanted.temperature, "max_tokens": most}
    return {name: value for name, value in given.items() if value is not None}
