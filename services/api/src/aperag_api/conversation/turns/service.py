"""Beginning, following and cancelling turns."""

from __future__ import annotations

import asyncio
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from aperag_api.conversation.turns import repository
from aperag_api.conversation.turns.decide import Terms, error_of, is_same, state_of
from aperag_api.conversation.turns.repository import NewTurn, TurnRow
from aperag_api.conversation.turns.schemas import TurnOut, TurnSnapshot
from aperag_api.conversation.turns.stream import batch, batches, frames
from aperag_api.kernel.http.failures import TooManyRequests
from aperag_api.kernel.reading import reading
from aperag_common import errors, ids, subjects
from aperag_common.db.models.turn import TurnOutcome
from aperag_common.events import turns
from aperag_common.events.fact import TurnEndedData
from aperag_common.live.events import Cursor, TurnEventKind
from aperag_common.live.log import parts_of
from aperag_work import outbox
from aperag_work.change import Change
from aperag_work.rows import Dispatch

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator, Sequence
    from datetime import timedelta
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.conversation.live.relays import TurnRelays
    from aperag_api.conversation.live.stored import StoredTurn
    from aperag_api.conversation.turns.preparation import Preparation
    from aperag_api.conversation.turns.schemas import AgentMessage
    from aperag_api.conversation.turns.settings import TurnSettings
    from aperag_api.kernel.auth import Caller
    from aperag_common.bus.connection import Bus
    from aperag_common.live.queue import Message
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.outbox import OutboxEvent

SOURCE = "api"
PLAIN = Terms()
SNAPSHOT_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class TurnService:
    """``relays`` follow turns for all readers of this process."""

    engine: AsyncEngine
    dispatcher: Dispatcher
    bus: Bus
    relays: TurnRelays
    preparation: Preparation
    settings: TurnSettings
    first_due: timedelta
    heartbeat: timedelta

    async def start(
        self, caller: Caller, bot_id: str, chat_id: str, message: AgentMessage, terms: Terms = PLAIN
    ) -> TurnOut:
        """The turn, or the one that was begun with the same ``message_id`` before.

        Listened to before it is committed, so that nothing of it is told to nobody.
        """
        turn_id = ids.new_turn_id()
        prepared = await self.preparation.of(caller, turn_id, bot_id, chat_id, message, terms)
        async with self.relays.open(turn_id, new=True, linger=self.settings.linger.total_seconds()):
            async with self.engine.begin() as conn:
                await self._lock(conn, caller.user_id, bot_id, chat_id)
                if (before := await repository.of_message(conn, chat_id, prepared.message_id)) is not None:
                    return _same(before, prepared)
                await self._admit(conn, caller.user_id)
                job = await repository.insert(conn, prepared, first_due=self.first_due)
                made = await repository.find(conn, caller.user_id, turn_id)
            self.dispatcher.deliver(Change((Dispatch(job, SOURCE),)))
        assert made is not None  # noqa: S101  # inserted by the same transaction
        return view(made)

    async def get(self, owner: str, turn_id: str) -> TurnOut:
        return view(await self._known(owner, turn_id))

    async def snapshot(self, owner: str, turn_id: str) -> TurnSnapshot:
        """What has happened so far: of a running turn what its agent knows, else what the row says."""
        row = await self._known(owner, turn_id)
        so_far: Sequence[Message] = []
        if row.held:
            async with self.relays.subscribe(turn_id) as queue:
                with suppress(TimeoutError):
                    async with asyncio.timeout(SNAPSHOT_SECONDS):
                        so_far = await batch(queue)
            row = await self._known(owner, turn_id)
        return TurnSnapshot(
            **view(row).model_dump(),
            parts=parts_of(so_far) if so_far else list(row.parts),
            last_event_id=so_far[-1]["id"] if so_far else None,
        )

    async def follow(self, owner: str, turn_id: str, last_id: str | None) -> AsyncGenerator[bytes, None]:
        """Server-sent events; raises before the first where the turn is not the owner's."""
        row = await self._known(owner, turn_id)
        return frames(self.told(turn_id, None if last_id is None else Cursor.parse(last_id)), row.message_id)

    async def cancel(self, owner: str, turn_id: str) -> TurnOut:
        """Raises 409 with how it ended where it has ended."""
        async with self.engine.begin() as conn:
            row = await repository.cancel(conn, owner, turn_id)
            told = () if row is None else await _record_end(conn, owner, row)
        self.dispatcher.deliver(Change((), told))
        if row is None:
            ended = await self._known(owner, turn_id)
            message = f"The turn is over: {view(ended).state}"
            raise errors.Conflict(message, details={"state": view(ended).state.value})
        if row.held:
            # Best effort: the agent's next beat finds the request in the row.
            with suppress(NatsError, OSError):
                await self.bus.nc.publish(subjects.cancel_turn(turn_id))
        return view(row)

    async def told(self, turn_id: str, after: Cursor | None = None) -> AsyncGenerator[Sequence[Message], None]:
        """Until the terminal message; an empty batch now and then while nothing happens. Whose turn it is was seen before."""
        async with (
            self.relays.subscribe(turn_id, after, patience=self.heartbeat.total_seconds()) as queue,
            aclosing(batches(queue)) as told,
        ):
            async for messages in told:
                yield messages

    async def ended(self, owner: str, turn_id: str) -> TurnOut:
        """Waits for its end."""
        async with aclosing(self.told(turn_id)) as batches:
            async for _ in batches:
                pass
        return await self.get(owner, turn_id)

    async def references(self, owner: str, turn_id: str) -> list[dict[str, Any]]:
        """What the answer of a turn that has ended rests on."""
        row = await self._known(owner, turn_id)
        return [
            item for part in row.parts if part["type"] == TurnEventKind.REFERENCES for item in part["data"]["items"]
        ]

    async def open_in(self, owner: str, chat_id: str) -> Sequence[TurnOut]:
        """Turns of the chat that have not ended, the oldest first."""
        async with reading(self.engine) as conn:
            return [view(row) for row in await repository.open_in(conn, owner, chat_id)]

    async def _lock(self, conn: AsyncConnection, owner: str, bot_id: str, chat_id: str) -> None:
        if await repository.lock_chat(conn, owner, chat_id) != bot_id:
            raise errors.ChatNotFound(f"Chat {chat_id} not found")

    async def _admit(self, conn: AsyncConnection, owner: str) -> None:
        if await repository.count_open(conn, owner) >= self.settings.max_open:
            message = f"{self.settings.max_open} of your questions are being answered: ask again when one of them is"
            raise TooManyRequests(message, retry_after=self.settings.retry_after)

    async def _known(self, owner: str, turn_id: str) -> TurnRow:
        async with reading(self.engine) as conn:
            row = await repository.find(conn, owner, turn_id)
        if row is None:
            raise errors.NotFound(f"Turn {turn_id} not found")
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
        ordinal=row.ordinal,
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


async def _record_end(conn: AsyncConnection, owner: str, row: TurnRow) -> tuple[OutboxEvent, ...]:
    """Nothing of a turn that its agent still has to end."""
    if row.outcome != TurnOutcome.CANCELLED:
        return ()
    data = TurnEndedData(turn_id=row.id, chat_id=row.chat_id, outcome=row.outcome)
    return await outbox.record(conn, turns.TurnFinished.of(data, source=SOURCE, subject=row.id, owner=owner))


def _same(before: TurnRow, asked: NewTurn) -> TurnOut:
    if before.question != asked.question or not is_same(before.request, asked.request):
        raise errors.Conflict(f"Another question was asked with the message_id {asked.message_id}: choose a new one")
    return view(before)
