"""An owner's events, or those of all, as one gapless sequence: what was missed, then what happens."""

from __future__ import annotations

import asyncio
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING

import structlog

from aperag_api.access.service import require_document
from aperag_api.kernel.reading import reading
from aperag_api.kernel.streaming.fanout import EVERYBODY, Event, Position, Signal
from aperag_api.kernel.streaming.sse import comment, event_frame, position_frame, reset_frame
from aperag_api.operations.events.reader import OrderedReader
from aperag_common import errors, subjects

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator
    from datetime import datetime, timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.streaming.fanout import Fanout, Listener
    from aperag_api.operations.events.feed import Feed
    from aperag_common.bus.connection import Bus

log = structlog.get_logger(__name__)

READY_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Missed:
    """The events after ``after`` up to ``until``, waiting in the stream."""

    after: Position
    until: Position


@dataclass(frozen=True, slots=True)
class Wanted:
    """What of an owner's events a reader is given: all, those of one document, those of some collections."""

    document_id: str | None = None
    collection_ids: frozenset[str] | None = None

    def __contains__(self, event: Event) -> bool:
        reached = self.collection_ids is None or event.collection_id in self.collection_ids
        return reached and self.document_id in {None, event.document_id}


@dataclass(frozen=True, slots=True)
class Begin:
    """Where a reader begins: after the event that it saw last, else at a time, else now."""

    after: str | None = None
    since: datetime | None = None


@dataclass(frozen=True, slots=True)
class EventService:
    engine: AsyncEngine
    bus: Bus
    feed: Feed
    fanout: Fanout
    heartbeat: timedelta

    async def open(self, caller: Caller, begin: Begin) -> AsyncGenerator[bytes, None]:
        """Listening has begun when this returns; the frames may be read later."""
        return await self._open(caller.user_id, begin, Wanted(collection_ids=caller.collection_ids))

    async def open_all(self, begin: Begin) -> AsyncGenerator[bytes, None]:
        """Of all owners: for administrators."""
        return await self._open(EVERYBODY, begin, Wanted())

    async def open_document(
        self, caller: Caller, collection_id: str, document_id: str, begin: Begin
    ) -> AsyncGenerator[bytes, None]:
        async with reading(self.engine) as conn:
            await require_document(conn, caller.user_id, collection_id, document_id)
        return await self._open(caller.user_id, begin, Wanted(document_id))

    async def _open(self, owner: str, begin: Begin, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        await self.feed.known(seconds=READY_SECONDS)
        listener = self.fanout.join(owner)
        # No await between joining and this: what comes later is in the listener, what came before in the stream.
        here = self.feed.position or Position(0, 0)
        found: Missed | Position | None = here
        if begin.after is not None:
            found = await self._missed(begin.after, here)
        elif begin.since is not None:
            seq = await OrderedReader(self.bus, subjects.EVENTS, _subject_of(owner)).locate(begin.since)
            found = Missed(min(Position(here.epoch, seq), here), here)
        return self._frames(listener, found, wanted)

    async def _missed(self, last_id: str, here: Position) -> Missed | None:
        """None where the reader's position is not, or no longer, one of this stream."""
        last = Position.parse(last_id)
        if last is None or last.epoch != here.epoch:
            return None
        state = (await self.feed.stream_info()).state
        # A reader may come from another gateway that is ahead of this one, but not ahead of the stream.
        if last.seq + 1 < state.first_seq or last.seq > state.last_seq:
            return None
        return Missed(last, here)

    async def _frames(
        self, listener: Listener, begin: Missed | Position | None, wanted: Wanted
    ) -> AsyncGenerator[bytes, None]:
        try:
            match begin:
                case None:
                    sent = self.feed.position or Position(0, 0)
                    yield reset_frame(sent, "this position is unknown to the event stream")
                case Position():
                    sent = begin
                    yield position_frame(sent)
                case Missed():
                    sent = begin.after
                    yield position_frame(sent)
                    async with aclosing(self._replay(listener.owner, begin)) as missed:
                        async for event in missed:
                            sent = event.position
                            if event in wanted:
                                yield event_frame(event)
                    sent = max(sent, begin.until)
                    yield position_frame(sent)  # nothing of the past is missing any more
            async with aclosing(self._live(listener, sent, wanted)) as live:
                async for frame in live:
                    yield frame
        except errors.UpstreamUnavailable as err:
            # The stream ends without a word: the client comes back with its last position.
            log.info("events.replay_lost", owner=listener.owner, error=err.message)
        finally:
            self.fanout.leave(listener)

    async def _live(self, listener: Listener, sent: Position, wanted: Wanted) -> AsyncGenerator[bytes, None]:
        while True:
            try:
                async with asyncio.timeout(self.heartbeat.total_seconds()):
                    items = await listener.take()
            except TimeoutError:
                yield comment("still here")
                continue
            frames: list[bytes] = []
            for item in items:
                if isinstance(item, Signal):
                    if item is Signal.CLOSED:
                        return
                    sent = self._after(item, sent)
                    yield reset_frame(sent, item)
                    if item is Signal.LAGGED:
                        return
                elif item.position > sent:
                    sent = item.position
                    if item in wanted:
                        frames.append(event_frame(item))
            if frames:
                yield b"".join(frames)

    def _after(self, signal: Signal, sent: Position) -> Position:
        """Where a reader stands that has just read its state again: a new life is read from its beginning."""
        here = self.feed.position or sent
        return Position(here.epoch, 0) if signal is Signal.RESET else here

    async def _replay(self, owner: str, missed: Missed) -> AsyncGenerator[Event, None]:
        if missed.after >= missed.until:
            return
        reader = OrderedReader(self.bus, subjects.EVENTS, _subject_of(owner))
        if await reader.open(missed.after.seq + 1) == 0:
            await reader.close()
            return
        try:
            async with aclosing(reader.read()) as messages:
                async for message in messages:
                    if (event := Event.of(message, missed.until.epoch)) is not None:
                        yield event
                    if message.pending == 0 or message.seq >= missed.until.seq:
                        return
        finally:
            await reader.close()


def _subject_of(owner: str) -> str:
    return subjects.ALL_EVENTS if owner == EVERYBODY else subjects.owner_events(owner)
