"""The gateway's side: one subscription per followed turn and process, and as many readers as come.

Readers read from the turn's log at their own pace, so a slow one costs nobody anything; the pieces of a text that it
has not taken yet reach it as one. What the bus has lost is asked of the turn's agent; where no agent answers, the
turn's row tells how it ended. Every reader gets one terminal event, and then the end.
"""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError
from sqlalchemy.exc import SQLAlchemyError

from aperag_api.conversation.live.stored import StoredTurn, gone, log_of
from aperag_common import subjects
from aperag_common.live.events import BEAT_SECONDS, TurnEvent, TurnEventKind
from aperag_common.live.log import TurnLog, remainder

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.client import Client
    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    Stored = Callable[[str], Awaitable[StoredTurn | None]]

log = structlog.get_logger(__name__)

SILENCE_SECONDS = 2.5 * BEAT_SECONDS
ASK_SECONDS = 2.0
LOOK_SECONDS, LONGEST_LOOK_SECONDS = 0.5, 5.0
"""Between two looks at a row that is still open while nobody says anything of it."""
PULSE_SECONDS = 5.0
"""Readers look at their clocks so often: a timer for each wait would cost more than all else that an event costs."""


@dataclass(slots=True)
class TurnRelay:
    """What this process knows of one turn. ``edition`` rises when what is known starts anew, whatever the run.

    ``on_gap`` is called when events that were told turn out not to have come, once for each time they are asked for.
    """

    nc: Client
    turn_id: str
    stored: Stored
    silence: float = SILENCE_SECONDS
    pulse: float = PULSE_SECONDS
    on_gap: Callable[[], None] = lambda: None
    log: TurnLog = field(default_factory=TurnLog)
    edition: int = 0
    readers: int = 0
    _waiting: list[asyncio.Future[None]] = field(default_factory=list)
    _behind: asyncio.Event = field(default_factory=asyncio.Event)
    _heard: float = 0.0
    _subscription: Subscription | None = None
    _watcher: asyncio.Task[None] | None = None

    async def begin(self) -> None:
        """Subscribed, and known to be, when this returns."""
        self._heard = time.monotonic()
        self._subscription = await self.nc.subscribe(subjects.turn_event(self.turn_id), cb=self._hear)
        with suppress(NatsError, OSError):  # while the server is away there is nothing to hear either
            await self.nc.flush()
        self._watcher = asyncio.create_task(self._watch())

    async def end(self) -> None:
        if self._watcher is not None:
            self._watcher.cancel()
        if self._subscription is not None:
            with suppress(NatsError, OSError):
                await self._subscription.unsubscribe()

    def catch_up(self) -> None:
        """Ask for what has happened before: somebody came late."""
        self._behind.set()

    async def _hear(self, message: Msg) -> None:
        try:
            event = TurnEvent.decode(message.data)
        except ValueError:
            log.warning("turn.not_understood", turn_id=self.turn_id)
            return
        self._heard = time.monotonic()
        self._take(event)

    def _take(self, event: TurnEvent) -> None:
        if event.run < self.log.run or self.log.ended:
            return
        if event.run > self.log.run:
            if event.kind is not TurnEventKind.START:
                self._miss()
                return
            self._start_anew(TurnLog(event.run))
        if event.kind is TurnEventKind.BEAT:
            if event.seq > self.log.last:
                self._miss()
        elif event.seq == self.log.last + 1:
            self._add([event])
        elif event.seq > self.log.last:
            self._miss()

    def _miss(self) -> None:
        if not self._behind.is_set():
            self.on_gap()
        self._behind.set()

    def _start_anew(self, known: TurnLog) -> None:
        self.log = known
        self.edition += 1
        self.wake_readers()

    def _add(self, events: list[TurnEvent]) -> None:
        for event in events:
            self.log.append(event)
        self.wake_readers()

    def wake_readers(self) -> None:
        waiting, self._waiting = self._waiting, []
        for reader in waiting:
            if not reader.done():
                reader.set_result(None)

    async def change(self) -> None:
        """Until something has changed, or it is time to look at the clock."""
        changed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append(changed)
        await changed

    async def _watch(self) -> None:
        """Until the end is known: heal what is missing, and look elsewhere where nobody speaks any more."""
        look = LOOK_SECONDS
        while not self.log.ended:
            quiet = time.monotonic() - self._heard
            if quiet < self.silence:
                wait, look = self.silence - quiet, LOOK_SECONDS
            else:
                # A turn that waits for an agent says nothing for minutes, and there may be very many of them.
                wait, look = look, min(look * 2, LONGEST_LOOK_SECONDS)
            await self._behind_within(wait)
            if self.log.ended:
                return
            if self._behind.is_set() or time.monotonic() - self._heard >= self.silence:
                self._behind.clear()
                await self._heal()

    async def _behind_within(self, seconds: float) -> None:
        until = time.monotonic() + seconds
        while not self._behind.is_set() and (left := until - time.monotonic()) > 0:
            with suppress(TimeoutError):
                await asyncio.wait_for(self._behind.wait(), min(left, self.pulse))
            self.wake_readers()

    async def _heal(self) -> None:
        """What the agent knows beyond this; without an agent, what the row says."""
        while True:
            try:
                asked = json.dumps({"run": self.log.run, "after": self.log.last}).encode()
                subject = subjects.turn_snapshot(self.turn_id)
                answer = json.loads((await self.nc.request(subject, asked, timeout=ASK_SECONDS)).data)
                events = [TurnEvent.of_json(value) for value in answer["events"]]
            except (NatsError, OSError, TimeoutError):
                await self._read_row()
                return
            except (ValueError, KeyError, TypeError):
                log.warning("turn.snapshot_not_understood", turn_id=self.turn_id)
                return
            self._heard = time.monotonic()
            self._receive(int(answer["run"]), events)
            if not answer.get("more") or not events:
                return

    def _receive(self, run: int, events: list[TurnEvent]) -> None:
        if run < self.log.run or self.log.ended:
            return
        if run > self.log.run:
            self._start_anew(TurnLog(run))
        # Some of it may have been heard since the question.
        fresh = [event for event in events if event.seq > self.log.last]
        if fresh and fresh[0].seq == self.log.last + 1:
            self._add(fresh)

    async def _read_row(self) -> bool:
        """Whether the turn is over."""
        try:
            turn = await self.stored(self.turn_id)
        except (SQLAlchemyError, OSError) as err:
            log.warning("turn.unread", turn_id=self.turn_id, error=repr(err))
            return False
        if turn is not None and turn.is_open:
            return False
        whole = gone() if turn is None else log_of(turn)
        if self.log.ended:
            return True
        missing = remainder(self.log.after(-1), whole.after(-1)) if whole.run >= self.log.run else None
        if missing is None or not self.log.events:
            self._start_anew(whole)
        else:
            last = self.log.last
            self._add(
                [
                    TurnEvent(self.log.run, last + place, event.kind, event.data, event.at, self.log.events[0].stored)
                    for place, event in enumerate(missing, 1)
                ]
            )
        return True
