"""Beginning, following and cancelling turns."""

from __future__ import annotations

import secrets
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from aperag_api.access.repository import readable_ids
from aperag_api.auth import CredentialKind
from aperag_api.bots.decide import agent_config
from aperag_api.bots.service import known as known_bot
from aperag_api.collections import repository as collections
from aperag_api.http.failures import TooManyRequests
from aperag_api.reading import reading
from aperag_api.turns import repository
from aperag_api.turns.decide import choices, completion_of, error_of, reach_of, state_of
from aperag_api.turns.repository import NewTurn, TurnRow
from aperag_api.turns.schemas import TurnOut, TurnSnapshot
from aperag_api.turns.stream import frames
from aperag_common import errors, ids
from aperag_common.bus import subjects
from aperag_common.live.events import Cursor
from aperag_common.work.change import Change
from aperag_common.work.driven_tables import TURN

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import timedelta
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.auth import Caller
    from aperag_api.prompts.service import PromptService
    from aperag_api.turns.schemas import AgentMessage
    from aperag_api.turns.settings import TurnSettings
    from aperag_common.bus.connection import Bus
    from aperag_common.live.relays import TurnRelays
    from aperag_common.live.stored import StoredTurn
    from aperag_common.work.courier import Courier

SOURCE = "api"
CHAT_BUSY = 5.0
SNAPSHOT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TurnService:
    """``relays`` follow turns for all readers of this process."""

    engine: AsyncEngine
    courier: Courier
    bus: Bus
    relays: TurnRelays
    prompts: PromptService
    settings: TurnSettings
    first_due: timedelta
    heartbeat: timedelta

    async def start(self, caller: Caller, bot_id: str, chat_id: str, message: AgentMessage) -> TurnOut:
        """The turn, or the one that was begun with the same ``message_id`` before.

        Listened to before it is committed, so that nothing of it is told to nobody.
        """
        turn_id = ids.new_turn_id()
        prepared = await self._prepare(caller, turn_id, bot_id, chat_id, message)
        async with self.relays.open(turn_id, new=True, linger=self.settings.linger.total_seconds()):
            async with self.engine.begin() as conn:
                await self._lock(conn, caller.user_id, bot_id, chat_id)
                if (before := await repository.of_message(conn, chat_id, prepared.message_id)) is not None:
                    return _same(before, prepared)
                await self._admit(conn, caller.user_id)
                row = await repository.insert(conn, prepared, first_due=self.first_due)
                made = await repository.find(conn, caller.user_id, turn_id)
            self.courier.deliver(Change((TURN.dispatch(row, source=SOURCE),)))
        assert made is not None  # noqa: S101  # inserted by the same transaction
        return view(made)

    async def get(self, owner: str, turn_id: str) -> TurnOut:
        return view(await self._known(owner, turn_id))

    async def snapshot(self, owner: str, turn_id: str) -> TurnSnapshot:
        """What has happened so far: of a running turn what its agent knows, else what the row says."""
        row = await self._known(owner, turn_id)
        parts: Sequence[dict[str, Any]] = row.parts
        last: Cursor | None = None
        if row.held:
            async with self.relays.open(turn_id) as relay:
                await relay.caught_up(within=SNAPSHOT_SECONDS)
                row = await self._known(owner, turn_id)
                parts = relay.log.parts() if relay.log.events else row.parts
                last = relay.log.events[-1].cursor if relay.log.events else None
        return TurnSnapshot(
            **view(row).model_dump(), parts=list(parts), last_event_id=None if last is None else str(last)
        )

    async def follow(self, owner: str, turn_id: str, last_id: str | None) -> AsyncGenerator[bytes, None]:
        """Server-sent events; raises before the first where the turn is not the owner's."""
        row = await self._known(owner, turn_id)
        return self._follow(row, None if last_id is None else Cursor.parse(last_id))

    async def cancel(self, owner: str, turn_id: str) -> TurnOut:
        """Raises 409 with how it ended where it has ended."""
        async with self.engine.begin() as conn:
            row = await repository.cancel(conn, owner, turn_id)
        if row is None:
            ended = await self._known(owner, turn_id)
            message = f"The turn is over: {view(ended).state}"
            raise errors.Conflict(message, details={"state": view(ended).state.value})
        if row.held:
            # Best effort: the agent's next beat finds the request in the row.
            with suppress(NatsError, OSError):
                await self.bus.nc.publish(subjects.cancel_turn(turn_id))
        return view(row)

    async def _follow(self, row: TurnRow, after: Cursor | None) -> AsyncGenerator[bytes, None]:
        async with (
            self.relays.open(row.id) as relay,
            aclosing(frames(relay, after, row.message_id, heartbeat=self.heartbeat)) as told,
        ):
            async for frame in told:
                yield frame

    async def _prepare(self, caller: Caller, turn_id: str, bot_id: str, chat_id: str, message: AgentMessage) -> NewTurn:
        async with reading(self.engine) as conn:
            bot = agent_config((await known_bot(conn, caller.user_id, bot_id)).config)
            chosen = choices(message, bot)
            named = await _titles(conn, caller.user_id, chosen.collection_ids)
        variables = {
            "query": message.query,
            "collections": named,
            "web_search_enabled": message.web_search_enabled,
            "chat_id": chat_id if message.files else None,
            "language": message.language,
        }
        told = await self.prompts.of_turn(caller.user_id, bot.system_prompt, bot.query_prompt, variables)
        request = {
            "query": message.query,
            "language": message.language,
            "collections": chosen.collection_ids,
            "completion": completion_of(chosen.completion),
            "web_search": message.web_search_enabled,
            "files": [file.model_dump() for file in message.files or ()],
            "chat_files": bool(message.files),
            "system_prompt": told.system,
            "prompt": told.query,
        }
        credential = caller.credential
        rights = {
            "collection_ids": reach_of(chosen.collection_ids, caller.reach),
            "api_key_id": credential.id if credential.kind is CredentialKind.API_KEY else None,
            "session_id": credential.id if credential.kind is CredentialKind.SESSION else None,
        }
        message_id = message.message_id or secrets.token_hex(16)
        return NewTurn(turn_id, caller.user_id, chat_id, bot_id, message_id, message.query, request, rights)

    async def _lock(self, conn: AsyncConnection, owner: str, bot_id: str, chat_id: str) -> None:
        if await repository.lock_chat(conn, owner, chat_id) != bot_id:
            message = f"Chat {chat_id} not found"
            raise errors.ChatNotFound(message)

    async def _admit(self, conn: AsyncConnection, owner: str) -> None:
        if await repository.count_open(conn, owner) >= self.settings.max_open:
            message = f"{self.settings.max_open} of your questions are being answered: ask again when one of them is"
            raise TooManyRequests(message, retry_after=self.settings.retry_after)

    async def _known(self, owner: str, turn_id: str) -> TurnRow:
        async with reading(self.engine) as conn:
            row = await repository.find(conn, owner, turn_id)
        if row is None:
            message = f"Turn {turn_id} not found"
            raise errors.NotFound(message)
        return row


async def stored_turn(engine: AsyncEngine, turn_id: str) -> StoredTurn | None:
    """What the relays ask where nobody tells of the turn."""
    async with reading(engine) as conn:
        return await repository.stored(conn, turn_id)


def view(row: TurnRow) -> TurnOut:
    state = state_of(row.status, row.outcome, held=row.held, cancelling=row.cancel_requested_at is not None)
    return TurnOut(
        id=row.id,
        chat_id=row.chat_id,
        bot_id=row.bot_id,
        message_id=row.message_id,
        state=state,
        question=row.question,
        answer=row.answer,
        usage=row.usage,
        error=error_of(state, row.parts, row.error_code, row.error_message),
        attempt=row.attempt,
        worker=row.worker,
        trace_id=row.trace_id,
        created=row.created,
        started_at=row.started_at,
        ended_at=row.settled_at,
        events=f"/api/v1/turns/{row.id}/events",
    )


def _same(before: TurnRow, asked: NewTurn) -> TurnOut:
    if (before.question, before.request) != (asked.question, asked.request):
        message = f"Another question was asked with the message_id {asked.message_id}: choose a new one"
        raise errors.Conflict(message)
    return view(before)


async def _titles(conn: AsyncConnection, owner: str, collection_ids: Sequence[str]) -> list[dict[str, str]]:
    """Of those that the owner may read; raises ``CollectionNotFound`` for any other."""
    if not collection_ids:
        return []
    readable = await readable_ids(conn, collection_ids, owner)
    missing = [it for it in collection_ids if it not in readable]
    if missing:
        message = f"Collection {missing[0]} not found"
        raise errors.CollectionNotFound(message)
    titles = await collections.titles(conn, collection_ids)
    return [{"id": it, "title": titles.get(it, "")} for it in collection_ids]
