"""The turns that somebody follows at this gateway."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aperag_api.conversation.live.relay import PULSE_SECONDS, SILENCE_SECONDS, TurnRelay
from aperag_api.conversation.live.subscriber import TurnSubscriber

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from nats.aio.client import Client

    from aperag_api.conversation.live.relay import Stored
    from aperag_common.live.events import Cursor
    from aperag_common.live.queue import AgentMessageQueue


class TurnRelays:
    """The relays of this process: opened by the first reader, closed after the last one."""

    def __init__(
        self,
        nc: Client,
        stored: Stored,
        *,
        silence: float = SILENCE_SECONDS,
        pulse: float = PULSE_SECONDS,
        on_gap: Callable[[], None] = lambda: None,
    ) -> None:
        self._nc = nc
        self._stored = stored
        self._silence = silence
        self._pulse = pulse
        self._on_gap = on_gap
        self._open: dict[str, TurnRelay] = {}
        self._lingering: set[asyncio.Task[None]] = set()

    def __len__(self) -> int:
        return len(self._open)

    @asynccontextmanager
    async def open(self, turn_id: str, *, new: bool = False, linger: float = 0.0) -> AsyncIterator[TurnRelay]:
        """``new``: of a turn that has not begun, so there is nothing to ask for.

        ``linger``: seconds for which the subscription outlives this block, for the reader that is about to come.
        """
        relay = self._open.get(turn_id)
        if relay is None:
            relay = self._open[turn_id] = TurnRelay(
                self._nc, turn_id, self._stored, self._silence, self._pulse, self._on_gap
            )
            relay.readers += 1
            await self._begin(relay)
            if not new:
                relay.catch_up()
        else:
            relay.readers += 1
        try:
            yield relay
        finally:
            if linger and not relay.log.ended:
                task = asyncio.create_task(self._leave_later(relay, linger))
                self._lingering.add(task)
                task.add_done_callback(self._lingering.discard)
            else:
                await self._leave(relay)

    @asynccontextmanager
    async def subscribe(
        self, turn_id: str, after: Cursor | None = None, *, patience: float | None = None
    ) -> AsyncIterator[AgentMessageQueue]:
        """A reader's end of the turn's queue."""
        async with self.open(turn_id) as relay:
            yield TurnSubscriber(relay, after, patience=patience)

    async def _begin(self, relay: TurnRelay) -> None:
        """A reader that goes away meanwhile leaves no relay behind that nobody feeds; who joined it is served as well."""
        beginning = asyncio.create_task(relay.begin())
        try:
            await asyncio.shield(beginning)
        except asyncio.CancelledError:
            beginning.add_done_callback(lambda _: self._leave_soon(relay))
            raise
        except Exception:
            await self._leave(relay)
            raise

    def _leave_soon(self, relay: TurnRelay) -> None:
        task = asyncio.create_task(self._leave(relay))
        self._lingering.add(task)
        task.add_done_callback(self._lingering.discard)

    async def close(self) -> None:
        for task in self._lingering:
            task.cancel()
        for relay in list(self._open.values()):
            self._open.pop(relay.turn_id, None)
            await relay.end()

    async def _leave_later(self, relay: TurnRelay, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._leave(relay)

    async def _leave(self, relay: TurnRelay) -> None:
        relay.readers -= 1
        if relay.readers == 0 and self._open.get(relay.turn_id) is relay:
            del self._open[relay.turn_id]
            await relay.end()
