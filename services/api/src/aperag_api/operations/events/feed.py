"""The gateway's one consumer of the event stream: it outlives every loss of NATS and of the stream itself."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError
from nats.js.errors import Error as JetStreamError
from pydantic import ValidationError
from sqlalchemy.exc import SQLAlchemyError

from aperag_api.kernel.reading import reading
from aperag_api.kernel.streaming.fanout import Position, Signal
from aperag_api.operations.events import repository
from aperag_api.operations.events.reader import OrderedReader
from aperag_common import errors, subjects
from aperag_common.events.accounts import KeyRevoked
from aperag_common.tasks import end_tasks

if TYPE_CHECKING:
    from nats.js.api import StreamInfo
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.revocations import Revocations
    from aperag_api.kernel.streaming.fanout import Delivered, Fanout
    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 0.25


class Feed:
    """``position`` is that of the last event given to the fan-out, None until the stream has been seen."""

    def __init__(
        self, bus: Bus, engine: AsyncEngine, fanout: Fanout, revocations: Revocations, metrics: Metrics
    ) -> None:
        self._bus = bus
        self._engine = engine
        self._fanout = fanout
        self._revocations = revocations
        self._metrics = metrics
        self._known = asyncio.Event()
        self._following: asyncio.Task[None] | None = None
        self._running: asyncio.Task[None] | None = None
        self.position: Position | None = None

    def start(self) -> None:
        self._bus.reconnected.append(self._on_reconnect)
        self._running = asyncio.create_task(self._run())

    async def close(self) -> None:
        """Ends every listener too; may be repeated."""
        self._fanout.signal(Signal.CLOSED)
        running, self._running = self._running, None
        if running is not None:
            self._bus.reconnected.remove(self._on_reconnect)
            await end_tasks(running)
            if self._following is not None:
                await end_tasks(self._following)

    async def known(self, *, seconds: float) -> Position:
        """The position, once there is one; raises ``UpstreamUnavailable`` where that takes too long."""
        with suppress(TimeoutError):
            await asyncio.wait_for(self._known.wait(), seconds)
        if self.position is None:
            raise errors.UpstreamUnavailable("Events are not available yet")
        return self.position

    async def check(self) -> str | None:
        """For readiness: None while events flow."""
        following = self._following is not None and not self._following.done() and self._known.is_set()
        return None if following else "the event stream is not being read"

    async def stream_info(self) -> StreamInfo:
        try:
            return await self._bus.js.stream_info(subjects.EVENTS)
        except (NatsError, JetStreamError, TimeoutError) as err:
            raise errors.UpstreamUnavailable("The event stream did not answer") from err

    async def _on_reconnect(self) -> None:
        # The pull request is gone with the old connection; waiting for its heartbeat would cost seconds.
        if self._following is not None:
            self._following.cancel()

    async def _run(self) -> None:
        while True:
            self._following = asyncio.create_task(self._follow())
            await asyncio.wait([self._following])
            if not self._following.cancelled():
                await self._note(self._following.exception())

    async def _note(self, exc: BaseException | None) -> None:
        expected = (errors.UpstreamUnavailable, NatsError, JetStreamError, TimeoutError, SQLAlchemyError, OSError)
        if exc is not None and not isinstance(exc, expected):
            log.error("events.reader_failed", exc_info=exc)
        else:
            log.info("events.reader_lost", error=repr(exc))
        await asyncio.sleep(AGAIN_SECONDS)

    async def _follow(self) -> None:
        position = await self._locate()
        reader = OrderedReader(self._bus, subjects.EVENTS, subjects.ALL_EVENTS)
        await reader.open(position.seq + 1)
        self._known.set()
        try:
            async for message in reader.read():
                if self._fanout.publish(message, position.epoch):
                    self._note_change(message)
                else:
                    self._metrics.unreadable_events.inc()
                    log.error("event.unreadable", subject=message.subject, seq=message.seq)
                self.position = Position(position.epoch, message.seq)
        finally:
            if self._bus.connected:
                await reader.close()

    def _note_change(self, message: Delivered) -> None:
        event = subjects.parse_event(message.subject)
        self._revocations.changed(event.type, event.owner)
        if event.type != KeyRevoked.type_name:
            return
        try:
            fact = KeyRevoked.model_validate_json(message.body)
        except ValidationError as err:  # which key it is about must be found in another way, and the feed goes on
            log.error("events.revocation_unread", seq=message.seq, error=str(err))  # noqa: TRY400  no stack is needed
            self._revocations.missed()
        else:
            self._revocations.revoked(fact.data.key_id)

    async def _locate(self) -> Position:
        """Where to read on: after the last event seen, or at the start of a stream that has begun anew."""
        info = await self.stream_info()
        async with reading(self._engine) as conn:
            known = await repository.stream_epoch(conn, subjects.EVENTS)
        if known is None or known.stream_created != info.created:
            raise errors.UpstreamUnavailable("the reconciler has not yet seen this stream")
        if self.position is None:
            self.position = Position(known.epoch, info.state.last_seq)
            self._revocations.missed()
        elif self.position.epoch != known.epoch:
            log.info("events.epoch_changed", epoch=known.epoch)
            self.position = Position(known.epoch, 0)
            self._fanout.signal(Signal.RESET)
            self._revocations.missed()
        return self.position
