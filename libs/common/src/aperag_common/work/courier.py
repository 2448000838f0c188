"""What is sent after a commit: commands and events, at once but best effort; the reconciler is the guarantee."""

from __future__ import annotations

import asyncio
import json
import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import structlog
from sqlalchemy.exc import SQLAlchemyError

from aperag_common import errors
from aperag_common.bus import subjects
from aperag_common.bus.publish import Publisher
from aperag_common.db.session import autocommit
from aperag_common.work import outbox

if TYPE_CHECKING:
    import uuid
    from collections.abc import Coroutine, Iterable
    from typing import Any

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_common.work.change import Change
    from aperag_common.work.dispatch import Dispatch
    from aperag_common.work.outbox import Fact

log = structlog.get_logger(__name__)

MARK_SECONDS = 0.05
"""Relayed rows are marked in groups; a crash in between only relays them again under the same id."""


EPOCH_SECONDS = 15.0
"""How long the epoch is taken as known."""


class Courier:
    """``deliver`` returns at once and never raises; ``close`` waits for what is under way."""

    def __init__(self, bus: Bus, engine: AsyncEngine, metrics: Metrics) -> None:
        self.publisher = Publisher(bus, metrics)
        self._engine = engine
        self._metrics = metrics
        self._tasks: set[asyncio.Task[Any]] = set()
        self._relayed: dict[int, list[uuid.UUID]] = {}
        self._marker: asyncio.Task[None] | None = None
        self._epoch = 0
        self._epoch_until = 0.0

    def deliver(self, *changes: Change) -> None:
        for change in changes:
            for command in change.commands:
                self._spawn(self._send_command(command))
            if change.facts:
                self._spawn(self.relay(change.facts))
            for seconds in change.ended_after:
                self._metrics.upload_to_searchable_seconds.observe(seconds)
        if any(change.settled for change in changes):
            self._spawn(self.publisher.wake("reconciler"))

    async def send(self, commands: Iterable[Dispatch]) -> int:
        """Publish and wait; the number that the server acknowledged."""
        results = await asyncio.gather(*(self._send_command(command) for command in commands))
        return sum(results)

    async def relay(self, facts: Iterable[Fact]) -> int:
        """Publish events and remember them as relayed in the epoch known before; the number acknowledged."""
        try:
            epoch = await self.epoch()
        except (SQLAlchemyError, OSError) as err:
            log.warning("outbox.epoch_unknown", error=repr(err))
            return 0
        results = await asyncio.gather(*(self._send_fact(fact, epoch) for fact in facts))
        return sum(results)

    async def epoch(self, *, refresh: bool = False) -> int:
        """A stale answer is safe: a row marked with an older epoch is relayed again."""
        if refresh or time.monotonic() >= self._epoch_until:
            async with autocommit(self._engine) as conn:
                self._epoch = await outbox.current_epoch(conn)
            self._epoch_until = time.monotonic() + EPOCH_SECONDS
        return self._epoch

    async def marked(self) -> None:
        """Wait until what was relayed so far is marked as such."""
        while self._marker is not None and not self._marker.done():
            await asyncio.wait([self._marker])

    async def close(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    def _spawn(self, work: Coroutine[Any, Any, Any]) -> asyncio.Task[Any]:
        task = asyncio.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def _send_command(self, command: Dispatch) -> bool:
        try:
            ack = await self.publisher.publish(
                command.stream,
                command.subject,
                command.message.encode(),
                message_id=command.message_id,
                attributes={"aperag.row": command.row_id, "aperag.generation": command.generation},
            )
        except errors.UpstreamUnavailable as err:
            log.warning("command.unpublished", subject=command.subject, row_id=command.row_id, error=err.message)
            return False
        if ack.duplicate:
            # On a first dispatch this means that two rows or generations share an id: a bug, so it is counted.
            self._metrics.duplicates.labels(command.subject, str(command.dispatch == 1).lower()).inc()
            log.warning("command.duplicate", message_id=command.message_id)
        return True

    async def _send_fact(self, fact: Fact, epoch: int) -> bool:
        event = subjects.parse_event(fact.subject)
        try:
            await self.publisher.publish(
                subjects.EVENTS,
                fact.subject,
                json.dumps(fact.payload, ensure_ascii=False).encode(),
                message_id=str(fact.id),
                span_name=f"{subjects.ROOT}.evt.{event.type}",
            )
        except errors.UpstreamUnavailable as err:
            log.warning("event.unpublished", subject=fact.subject, error=err.message)
            return False
        written = datetime.fromisoformat(fact.payload["time"])
        self._metrics.relay_latency_seconds.observe((datetime.now(UTC) - written).total_seconds())
        self._relayed.setdefault(epoch, []).append(fact.id)
        if self._marker is None or self._marker.done():
            self._marker = self._spawn(self._mark_soon())
        return True

    async def _mark_soon(self) -> None:
        await asyncio.sleep(MARK_SECONDS)
        relayed, self._relayed = self._relayed, {}
        for epoch, ids in relayed.items():
            try:
                async with autocommit(self._engine) as conn:
                    await outbox.mark_relayed(conn, ids, epoch)
            except (SQLAlchemyError, OSError) as err:
                log.warning("outbox.unmarked", rows=len(ids), error=repr(err))
        if self._relayed:
            self._marker = self._spawn(self._mark_soon())
