"""From a question to the turn that is begun: what its bot says, what it may reach, what its agent is told."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from aperag_api.access import chats
from aperag_api.access.service import require_readable
from aperag_api.conversation.bots.decide import agent_config
from aperag_api.conversation.bots.service import FLOWING
from aperag_api.conversation.bots.service import known as known_bot
from aperag_api.conversation.turns.decide import Terms, choices, completion_of, reach_of
from aperag_api.conversation.turns.repository import NewTurn
from aperag_api.kernel.auth import CredentialKind
from aperag_api.kernel.reading import reading
from aperag_common import errors

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.conversation.bots.decide import AgentConfig
    from aperag_api.conversation.turns.schemas import AgentMessage
    from aperag_api.kernel.auth import Caller


class FlowConfigNotFound(errors.ClientError):
    """A bot that a flow answers for, without any."""

    code, number, status = "FLOW_CONFIG_NOT_FOUND", 1501, 400

    def __init__(self) -> None:
        super().__init__("Bot flow config not found")


class Prompts(Protocol):
    async def of_turn(
        self, user_id: str, system: str | None, query: str | None, variables: Mapping[str, Any]
    ) -> tuple[str, str]:
        """System prompt and question, rendered from these templates of a bot, or else from the user's."""
        ...


@dataclass(frozen=True, slots=True)
class Preparation:
    engine: AsyncEngine
    prompts: Prompts

    async def of(
        self, caller: Caller, turn_id: str, bot_id: str, chat_id: str, message: AgentMessage, terms: Terms
    ) -> NewTurn:
        """Raises where the bot, a collection or a file is not the caller's to use, or a prompt cannot be rendered."""
        async with reading(self.engine) as conn:
            bot = await known_bot(conn, caller.user_id, bot_id)
            config = agent_config(bot.config)
            chosen = choices(message, config)
            named = await _titles(conn, caller.user_id, chosen.collection_ids)
            files = await _files(conn, caller.user_id, chat_id, message)
        request = {
            "query": message.query,
            "language": message.language,
            "collections": chosen.collection_ids,
            "completion": {**(completion_of(chosen.completion) or {}), **terms.settings} or None,
            "web_search": message.web_search_enabled,
            "files": files.named,
            "chat_files": files.there,
            "messages": terms.messages,
            "debug": terms.debug,
        }
        if terms.debug or bot.type in FLOWING:
            if bot.flow is None:
                raise FlowConfigNotFound
            request |= {"flow": bot.flow}
            reach = caller.reach
        else:
            request |= await self._prompts(caller, config, request, named, chat_id)
            reach = reach_of(chosen.collection_ids, caller.reach)
        credential = caller.credential
        rights = {
            "collection_ids": reach,
            "api_key_id": credential.id if credential.kind is CredentialKind.API_KEY else None,
            "session_id": credential.id if credential.kind is CredentialKind.SESSION else None,
        }
        message_id = message.message_id or secrets.token_hex(16)
        return NewTurn(turn_id, caller.user_id, chat_id, bot_id, message_id, message.query, request, rights)

    async def _prompts(
        self, caller: Caller, bot: AgentConfig, request: dict[str, Any], named: Sequence[dict[str, str]], chat_id: str
    ) -> dict[str, str]:
        variables = {
            "query": request["query"],
            "collections": named,
            "web_search_enabled": request["web_search"],
            "chat_id": chat_id if request["chat_files"] else None,
            "language": request["language"],
        }
        system, query = await self.prompts.of_turn(caller.user_id, bot.system_prompt, bot.query_prompt, variables)
        return {"system_prompt": system, "prompt": query}


@dataclass(frozen=True, slots=True)
class _Files:
    """Those that the question names, and whether its chat has any."""

    named: list[dict[str, str]]
    there: bool


async def _files(conn: AsyncConnection, owner: str, chat_id: str, message: AgentMessage) -> _Files:
    """Raises ``DocumentNotFound`` for what is no file of the chat."""
    wanted = list(dict.fromkeys(file.id for file in message.files or ()))
    if not wanted:
        return _Files([], bool(await chats.documents(conn, owner, chat_id, limit=1)))
    names = await chats.named(conn, owner, chat_id, wanted)
    missing = [it for it in wanted if it not in names]
    if missing:
        message_ = f"Document {missing[0]} not found in this chat"
        raise errors.DocumentNotFound(message_)
    return _Files([{"id": it, "name": names[it]} for it in wanted], there=True)


async def _titles(conn: AsyncConnection, owner: str, collection_ids: Sequence[str]) -> list[dict[str, str]]:
    """Of those that the owner may read; raises ``CollectionNotFound`` for any other."""
    titles = await require_readable(conn, owner, collection_ids)
    return [{"id": it, "title": titles[it]} for it in collection_ids]
