"""The agent's side of a run: says what happens, and answers whoever has missed some of it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from nats.errors import Error as NatsError

from aperag_common import subjects
from aperag_common.live.events import BEAT_SECONDS, GROWING, TurnEvent, TurnEventKind
from aperag_common.live.log import TurnLog, part_of, parts_of
from aperag_common.live.queue import AgentMessageQueue

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from aperag_agent.live.sender import Sender
    from aperag_common.live.queue import Message

COALESCE_SECONDS = 0.02
"""Between two pieces of a text: what comes sooner waits for it and goes as one. A reader sees no difference, and the bus
a tenth of a quick model's messages; a piece that comes after a pause waits for nothing."""
PIECE_CHARACTERS = 64 * 1024
"""Of one event: the server takes no message of more than a megabyte."""
PAGE_BYTES = 512 * 1024
"""Of one answer to a reader who has missed something; it asks again for the rest."""


class TurnPublisher(AgentMessageQueue):
    """The agent's end of a turn's queue, for one run. Losing a message loses nothing: readers notice the gap and ask.

    No failure of the bus reaches the turn. Used as a context manager: it begins with START, and closes at the end.
    Readers of a run that was closed without a terminal message learn from the turn's row how it ended.
    """

    def __init__(
        self,
        sender: Sender,
        turn_id: str,
        run: int,
        *,
        coalesce: float = COALESCE_SECONDS,
        beat: float = BEAT_SECONDS,
    ) -> None:
        self._sender = sender
        self._turn_id = turn_id
        self._subject = subjects.turn_event(turn_id)
        self._log = TurnLog(run)
        self._coalesce = coalesce
        self._beat = beat
        self._pending: list[str] = []
        self._pending_kind = TurnEventKind.MESSAGE
        self._flusher: asyncio.Task[None] | None = None
        self._beating: asyncio.Task[None] | None = None
        self._asked: Subscription | None = None
        self._published_at = time.monotonic()
        self._closed = False

    async def __aenter__(self) -> Self:
        # Before START: whoever hears of the run may ask for it at once.
        with suppress(NatsError, OSError):
            self._asked = await self._sender.nc.subscribe(subjects.turn_snapshot(self._turn_id), cb=self._answer)
        self._publish(TurnEventKind.START, {})
        self._beating = asyncio.create_task(self._beat_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def put(self, message: Message) -> None:
        """Pieces of a text are coalesced."""
        kind, data = TurnEventKind(message["type"]), message["data"]
        if self.is_closed():
            raise ValueError("this queue is closed")
        if kind in GROWING:
            self._grow(kind, data["text"])
        else:
            self._flush()
            self._publish(kind, data)

    async def close(self) -> None:
        """Tells what is pending; no reader's question is answered any more."""
        self._closed = True
        if self._beating is not None:
            self._beating.cancel()
        self._flush()
        if self._asked is not None:
            asked, self._asked = self._asked, None
            with suppress(NatsError, OSError):
                await asked.unsubscribe()

    def is_closed(self) -> bool:
        return self._closed or self._log.ended

    def part(self, kind: TurnEventKind, data: Mapping[str, Any]) -> dict[str, Any]:
        """A part as the row stores it, before it is published."""
        return part_of(self._next(kind, data).message)

    async def settled(self) -> Sequence[Mapping[str, Any]]:
        """The parts so far, each text whole: what the row keeps."""
        self._flush()
        return parts_of(event.message for event in self._log.after(-1))

    def _grow(self, kind: TurnEventKind, delta: str) -> None:
        if not delta:
            return
        if kind is not self._pending_kind:
            self._flush()
            self._pending_kind = kind
        self._pending.append(delta)
        if self._flusher is not None:
            return
        wait = self._published_at + self._coalesce - time.monotonic()
        if wait <= 0:
            self._flush()
        else:
            self._flusher = asyncio.create_task(self._flush_in(wait))

    async def _flush_in(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        self._flusher = None
        self._flush()

    def _flush(self) -> None:
        if self._flusher is not None and self._flusher is not asyncio.current_task():
            self._flusher.cancel()
            self._flusher = None
        whole, self._pending = "".join(self._pending), []
        pieces = [whole[start : start + PIECE_CHARACTERS] for start in range(0, len(whole), PIECE_CHARACTERS)]
        # All are noted before the first is sent: what is published meanwhile comes after them.
        for event in [self._noted(self._pending_kind, {"text": piece}) for piece in pieces]:
            self._send(event)

    def _publish(self, kind: TurnEventKind, data: Mapping[str, Any]) -> None:
        self._send(self._noted(kind, data))

    def _noted(self, kind: TurnEventKind, data: Mapping[str, Any]) -> TurnEvent:
        event = self._next(kind, data)
        self._log.append(event)
        return event

    def _next(self, kind: TurnEventKind, data: Mapping[str, Any]) -> TurnEvent:
        return TurnEvent(self._log.run, self._log.last + 1, kind, data, time.time())

    def _send(self, event: TurnEvent) -> None:
        self._published_at = time.monotonic()
        self._sender.send(self._subject, event.encode())

    async def _beat_on(self) -> None:
        while not self._log.ended:
            quiet = time.monotonic() - self._published_at
            if quiet < self._beat:
                await asyncio.sleep(self._beat - quiet)
                continue
            self._send(TurnEvent(self._log.run, self._log.last, TurnEventKind.BEAT, {}, time.time()))

    async def _answer(self, asked: Msg) -> None:
        with suppress(NatsError, OSError):
            await asked.respond(self._page(_after(asked.data, self._log.run)))

    def _page(self, after: int) -> bytes:
        """As much as fits into a message, at least one event."""
        page: list[dict[str, Any]] = []
        size = 0
        # Piece by piece: a reader may have some of them.
        events = self._log.since(after)
        for event in events:
            value = event.as_json()
            size += len(json.dumps(value, ensure_ascii=False).encode())
            if page and size > PAGE_BYTES:
                break
            page.append(value)
        more = len(page) < len(events)
        return json.dumps({"run": self._log.run, "events": page, "more": more}, ensure_ascii=False).encode()


def _after(payload: bytes, run: int) -> int:
    """What the reader has of this run; of another one it has nothing."""
    try:
        asked = json.loads(payload)
        return int(asked["after"]) if int(asked["run"]) == run else -1
    except (ValueError, KeyError, TypeError):
        return -1
