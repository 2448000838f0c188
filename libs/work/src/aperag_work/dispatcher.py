"""What is sent after a commit: commands and events, at once but best effort; the reconciler is the guarantee."""

from __future__ import annotations

import asyncio
import math
import time
from functools import partial
from typing import TYPE_CHECKING, Any

import structlog

from aperag_common import errors, subjects
from aperag_common.bus.publish import Outgoing, Publisher
from aperag_work import outbox
from aperag_work.batching import Batcher
from aperag_work.database import FAILURES
from aperag_work.policy import PUNCTUAL

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence
    from datetime import timedelta

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.declared import Declared
    from aperag_common.metrics import Metrics
    from aperag_work.change import Change
    from aperag_work.database import Database
    from aperag_work.outbox import OutboxEvent
    from aperag_work.rows import Dispatch

log = structlog.get_logger(__name__)

MARK_SECONDS = 0.05
"""Relayed events are marked in groups; a crash in between only relays them again under the same id."""
WAKE_SECONDS = 0.02
LATER_SECONDS = 0.25
"""Wakes for the same quarter of a second are one."""
EPOCH_SECONDS = 15.0
"""How long the epoch is taken as known."""


class Dispatcher:
    """``deliver`` returns at once and never raises; ``close`` waits for what is under way.

    What comes while something is being published goes together with the next publish.
    """

    def __init__(self, bus: Bus, database: Database, metrics: Metrics, declared: Declared) -> None:
        self.publisher = Publisher(bus, metrics, declared)
        self._database = database
        self._metrics = metrics
        self.on_event: list[Callable[[str, str], None]] = []
        """Told the type and the owner of each event that is delivered, before it is published."""
        self._tasks: set[asyncio.Task[Any]] = set()
        self._commands: dict[str, Batcher[Dispatch, bool]] = {}
        self._events: Batcher[OutboxEvent, bool] = Batcher(self._relay)
        self._relayed: dict[int, list[str]] = {}
        self._marker: asyncio.Task[None] | None = None
        self._wake_wanted = False
        self._waking: asyncio.Task[None] | None = None
        self._alarms: dict[int, asyncio.TimerHandle] = {}
        self._epoch = 0
        self._epoch_until = 0.0

    def deliver(self, *changes: Change) -> None:
        for change in changes:
            for command in change.commands:
                self._submit(command)
            for event in change.events:
                self._tell(event)
                self._events.submit(event).add_done_callback(_seen)
            for seconds in change.ended_after:
                self._metrics.upload_to_searchable_seconds.observe(seconds)
        if any(change.settled for change in changes):
            self.wake()

    def _tell(self, event: OutboxEvent) -> None:
        subject = subjects.parse_event(event.subject)
        for told in self.on_event:
            told(subject.type, subject.owner)

    def wake(self) -> None:
        """Have the reconciler look for what became free; however often that is asked for, it is told now and then."""
        self._wake_wanted = True
        if self._waking is None or self._waking.done():
            self._waking = self._spawn(self._wake())

    def wake_in(self, delay: timedelta) -> None:
        """Wake once then, however many ask for about the same time. What is later than ``PUNCTUAL``, and what a stop
        forgets, is left to the reconciler's timer.
        """
        if delay > PUNCTUAL:
            return
        loop = asyncio.get_running_loop()
        at = math.ceil((loop.time() + delay.total_seconds()) / LATER_SECONDS)
        if at not in self._alarms:
            self._alarms[at] = loop.call_at(at * LATER_SECONDS, self._woken_later, at)

    def _woken_later(self, at: int) -> None:
        del self._alarms[at]
        self.wake()

    async def _wake(self) -> None:
        while self._wake_wanted:
            self._wake_wanted = False
            await self.publisher.wake("reconciler")
            await asyncio.sleep(WAKE_SECONDS)

    async def send(self, commands: Sequence[Dispatch]) -> int:
        """Publish and wait; the number that the server acknowledged."""
        sent = await asyncio.gather(*(self._submit(command) for command in commands), return_exceptions=True)
        return sum(it is True for it in sent)

    async def relay(self, events: Sequence[OutboxEvent]) -> int:
        """Publish events and wait until they are marked as relayed; the number that the server acknowledged."""
        relayed = sum(await asyncio.gather(*(self._events.submit(event) for event in events)))
        while self._marker is not None and not self._marker.done():
            await asyncio.wait([self._marker])
        return relayed

    async def epoch(self, *, refresh: bool = False) -> int:
        """A stale answer is safe: a row marked with an older epoch is relayed again."""
        if refresh or time.monotonic() >= self._epoch_until:
            async with self._database.relaxed.acquire() as conn:
                self._epoch = await outbox.current_epoch(conn)
            self._epoch_until = time.monotonic() + EPOCH_SECONDS
        return self._epoch

    async def close(self) -> None:
        for alarm in self._alarms.values():
            alarm.cancel()
        for batcher in self._commands.values():
            await batcher.idle()
        await self._events.idle()
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _submit(self, command: Dispatch) -> asyncio.Future[bool]:
        stream = command.stream
        if stream not in self._commands:
            self._commands[stream] = Batcher(partial(self._send, stream))
        submitted = self._commands[stream].submit(command)
        submitted.add_done_callback(_seen)
        return submitted

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send(self, stream: str, commands: Sequence[Dispatch]) -> list[bool]:
        messages = [
            Outgoing(
                it.subject,
                it.message.encode(),
                it.message_id,
                it.row.traceparent,
                attributes={"aperag.job": it.row.id, "aperag.generation": it.row.generation},
            )
            for it in commands
        ]
        answers = await self.publisher.publish(stream, messages)
        for command, answer in zip(commands, answers, strict=True):
            if isinstance(answer, errors.UpstreamUnavailable):
                log.warning("command.unpublished", subject=command.subject, job_id=command.row.id, error=answer.message)
            elif answer.duplicate:
                # On a first dispatch this means that two jobs or generations share an id: a bug, so it is counted.
                self._metrics.duplicates.labels(command.subject, str(command.row.dispatch == 1).lower()).inc()
                log.warning("command.duplicate", message_id=command.message_id)
        return [not isinstance(answer, errors.UpstreamUnavailable) for answer in answers]

    async def _relay(self, events: Sequence[OutboxEvent]) -> list[bool]:
        """The epoch is known before: one that is raised meanwhile only means that a row is relayed again."""
        try:
            epoch = await self.epoch()
        except FAILURES as err:
            log.warning("outbox.epoch_unknown", error=repr(err))
            return [False] * len(events)
        messages = [
            Outgoing(it.subject, it.payload.encode(), it.id, it.traceparent, name=f"{subjects.ROOT}.evt.{it.type}")
            for it in events
        ]
        answers = await self.publisher.publish(subjects.EVENTS, messages)
        relayed = [not isinstance(answer, errors.UpstreamUnavailable) for answer in answers]
        for event, done in zip(events, relayed, strict=True):
            if done:
                self._relayed.setdefault(epoch, []).append(event.id)
                if event.made:
                    self._metrics.relay_latency_seconds.observe(time.monotonic() - event.made)
            else:
                log.warning("event.unpublished", subject=event.subject)
        if any(relayed) and (self._marker is None or self._marker.done()):
            self._marker = self._spawn(self._mark_soon())
        return relayed

    async def _mark_soon(self) -> None:
        await asyncio.sleep(MARK_SECONDS)
        relayed, self._relayed = self._relayed, {}
        for epoch, ids in relayed.items():
            try:
                async with self._database.relaxed.acquire() as conn:
                    await outbox.mark_relayed(conn, ids, epoch)
            except FAILURES as err:
                log.warning("outbox.unmarked", rows=len(ids), error=repr(err))
        if self._relayed:
            self._marker = self._spawn(self._mark_soon())


def _seen(submitted: asyncio.Future[bool]) -> None:
    """What could not be sent is redriven; an error here is a defect."""
    if not submitted.cancelled() and (err := submitted.exception()) is not None:
        log.error("dispatch.failed", exc_info=err)
