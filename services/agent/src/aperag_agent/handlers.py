"""A turn from its claim to its end."""

from __future__ import annotations

import asyncio
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from sqlalchemy.exc import SQLAlchemyError

from aperag_agent import failures
from aperag_agent.failures import TurnFailed
from aperag_agent.flows.conversation import FlowConversation
from aperag_agent.live.publisher import TurnPublisher
from aperag_agent.turns import events, repository
from aperag_agent.turns.conversation import Conversation
from aperag_agent.turns.repository import TurnEnd
from aperag_common.db.models.turn import TurnOutcome
from aperag_common.live.events import TurnEventKind
from aperag_common.telemetry import propagate
from aperag_work import outbox
from aperag_work.change import Change
from aperag_work.completion import Completion

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from datetime import timedelta

    import httpx
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_agent.completions.resolve import Completions
    from aperag_agent.live.sender import Sender
    from aperag_agent.settings import LimitSettings
    from aperag_agent.turns.repository import TurnRow
    from aperag_common.live.queue import AgentMessageQueue, Message
    from aperag_common.metrics import Metrics
    from aperag_common.templates.rendering import Templates
    from aperag_work.job import Job

log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _End:
    outcome: TurnOutcome
    usage: Mapping[str, Any]
    failure: TurnFailed | None = None

    @property
    def message(self) -> Message:
        if self.failure is not None:
            return {"type": TurnEventKind.ERROR, "data": self.failure.data}
        return {"type": TurnEventKind.STOP, "data": {"outcome": self.outcome.value, "usage": self.usage}}


NOTHING: Mapping[str, Any] = {"requests": 0, "input_tokens": 0, "output_tokens": 0, "tool_calls": 0}


@dataclass(slots=True)
class TurnRuns:
    """Runs turns; ``cancel`` stops one that runs here. A turn whose agent died ends by its row."""

    engine: AsyncEngine
    metrics: Metrics
    sender: Sender
    completions: Completions
    limits: LimitSettings
    mcp_url: str
    gateway: httpx.AsyncClient
    templates: Templates
    looks_every: timedelta
    _running: dict[str, asyncio.Event] = field(default_factory=dict)

    def cancel(self, turn_id: str) -> None:
        if (cancelled := self._running.get(turn_id)) is not None:
            cancelled.set()

    async def run(self, job: Job) -> Completion:
        async with job.transaction() as conn:
            turn = await repository.begin(conn, job.row.subject_id)
            begun = () if turn is None else await outbox.record(conn, events.started(turn))
        if turn is None:
            raise job.superseded()
        job.engine.dispatcher.deliver(Change((), begun))
        publisher = await job.stack.enter_async_context(TurnPublisher(self.sender, turn.id, turn.run))
        return await self._completion(turn, publisher, await self._run(turn, publisher))

    async def _run(self, turn: TurnRow, queue: AgentMessageQueue) -> _End:
        if turn.cancelled:
            return _End(TurnOutcome.CANCELLED, NOTHING)
        if turn.run == 1 and turn.waited > self.limits.wait.total_seconds():
            return _failed(failures.expired(turn.waited / 60))
        credential = f"turn.{turn.id}.{turn.credential}"
        began = time.monotonic()

        def first_word() -> None:
            self.metrics.turn_first_word_seconds.observe(turn.age + time.monotonic() - began)

        conversation = self._conversation(turn, credential, queue, first_word)
        cancelled = self._running[turn.id] = asyncio.Event()
        watching = asyncio.create_task(self._watch(turn.id, cancelled))
        answering = asyncio.create_task(self._answer(conversation))
        try:
            stop = asyncio.create_task(cancelled.wait())
            seconds = self.limits.time.total_seconds()
            await asyncio.wait({answering, stop}, timeout=seconds, return_when=asyncio.FIRST_COMPLETED)
            stop.cancel()
            return await self._ended(conversation, answering, cancelled=cancelled.is_set())
        finally:
            del self._running[turn.id]
            watching.cancel()
            await _cancel(answering)

    def _conversation(
        self, turn: TurnRow, credential: str, queue: AgentMessageQueue, first_word: Callable[[], None]
    ) -> Conversation | FlowConversation:
        if "flow" in turn.request:
            return FlowConversation(
                turn, credential, queue, self.gateway, self.templates, self.limits, self.completions, first_word
            )
        return Conversation(turn, credential, queue, self.mcp_url, self.limits, self.completions, first_word)

    async def _answer(self, conversation: Conversation | FlowConversation) -> None:
        turn = conversation.turn
        earlier = await repository.earlier(self.engine, turn.chat_id, before=turn.ordinal, limit=self.limits.history)
        await conversation.hold(earlier)

    async def _ended(
        self, conversation: Conversation | FlowConversation, answering: asyncio.Task[None], *, cancelled: bool
    ) -> _End:
        """An answer that was whole when it was cancelled counts as answered."""
        if not answering.done():
            await _cancel(answering)
            if cancelled:
                return _End(TurnOutcome.CANCELLED, conversation.spent())
            return _failed(failures.too_slow(self.limits.time.total_seconds()), conversation.spent())
        try:
            answering.result()
        except TurnFailed as failure:
            log.info("turn.failed", turn_id=conversation.turn.id, code=failure.code, causes=failures.named(failure))
            return _failed(failure, conversation.spent())
        return _End(TurnOutcome.ANSWERED, conversation.spent())

    async def _completion(self, turn: TurnRow, publisher: TurnPublisher, end: _End) -> Completion:
        """The row first: who hears of the end finds it whole."""
        parts = list(await publisher.settled())
        answer = "\n\n".join(part["data"]["text"] for part in parts if part["type"] == TurnEventKind.MESSAGE)
        if end.failure is not None:
            parts.append(publisher.part(TurnEventKind.ERROR, end.failure.data))

        async def publish() -> None:
            await publisher.put(end.message)

        trace_id = propagate.trace_id_of(propagate.current_traceparent())
        kept = TurnEnd(answer, parts, end.usage, end.outcome.value, trace_id)
        fact = events.ended(turn, end.outcome, end.failure)
        return Completion(kept, events=(fact,), after=publish, outcome=end.outcome.value)

    async def _watch(self, turn_id: str, cancelled: asyncio.Event) -> None:
        """The message that cancels may get lost; the row does not."""
        while not cancelled.is_set():
            await asyncio.sleep(self.looks_every.total_seconds())
            try:
                if await repository.is_cancelled(self.engine, turn_id):
                    cancelled.set()
            except (SQLAlchemyError, OSError) as err:
                log.warning("turn.unwatched", turn_id=turn_id, error=repr(err))


def _failed(failure: TurnFailed, usage: Mapping[str, Any] = NOTHING) -> _End:
    return _End(TurnOutcome.FAILED, usage, failure)


async def _cancel(task: asyncio.Task[None]) -> None:
    """Wait until it has let go of what it held."""
    task.cancel()
    with suppress(asyncio.CancelledError, TurnFailed):
        await asyncio.wait({task})
