"""A reader's end of a turn's message queue."""

from __future__ import annotations

import time
from collections import deque
from typing import TYPE_CHECKING

from aperag_common.live.events import TurnEventKind
from aperag_common.live.queue import AgentMessageQueue, Message

if TYPE_CHECKING:
    from aperag_api.conversation.live.relay import TurnRelay
    from aperag_common.live.events import Cursor, TurnEvent


class TurnSubscriber(AgentMessageQueue):
    """Reads what comes after ``after``, else from the start of the run; a ``start`` says that the text begins anew.

    Reads from the relay's log at its own pace; pieces of a text that came since the last look arrive as one. With
    ``patience``, ``get`` raises TimeoutError after so many seconds without a message, and up to the relay's ``pulse`` more.
    """

    def __init__(self, relay: TurnRelay, after: Cursor | None = None, *, patience: float | None = None) -> None:
        self._relay = relay
        self._after = after
        self._patience = patience
        self._edition = -1
        self._seq = -1
        self._fresh: deque[TurnEvent] = deque()
        self._closed = False

    async def get(self) -> Message | None:
        since = time.monotonic()
        while not self.qsize():
            if self._closed or self._relay.log.ended:
                self._closed = True
                return None
            if self._patience is not None and time.monotonic() - since >= self._patience:
                raise TimeoutError
            await self._relay.change()
        return self._message(self._fresh.popleft())

    async def close(self) -> None:
        self._closed = True
        self._relay.wake_readers()

    def is_closed(self) -> bool:
        return self._closed

    def qsize(self) -> int:
        if self._closed:
            return 0
        log = self._relay.log
        if self._edition != self._relay.edition:
            self._edition, self._seq = self._relay.edition, self._resumes()
            self._fresh.clear()
            if log.events:
                self._after = None  # it meant what was known first
        if log.last > self._seq:
            fresh = log.after(self._seq)
            self._seq = fresh[-1].seq
            self._fresh.extend(fresh)
        return len(self._fresh)

    def _resumes(self) -> int:
        """Numbers mean the same only within a run, and only live or only from the row."""
        events = self._relay.log.events
        if self._after is None or not events or self._after.run != self._relay.log.run:
            return -1
        return self._after.seq if self._after.stored == events[0].stored else -1

    def _message(self, event: TurnEvent) -> Message:
        message = event.message
        if event.kind is TurnEventKind.STOP:
            message["data"] = {**event.data, "references": self._relay.log.references()}
        return message
