"""The agent's side of a run: says what happens, and answers whoever has missed some of it."""

from __future__ import annotations

import asyncio
import json
import time
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self

from nats.errors import Error as NatsError

from aperag_common.bus import subjects
from aperag_common.live.events import TurnEvent, TurnEventKind
from aperag_common.live.log import TurnLog

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from nats.aio.msg import Msg
    from nats.aio.subscription import Subscription

    from aperag_common.live.sender import Sender

COALESCE_SECONDS = 0.02
"""Between two pieces of a text: what comes sooner waits for it and goes as one. A reader sees no difference, and the bus
a tenth of a quick model's messages; a piece that comes after a pause waits for nothing."""
BEAT_SECONDS = 2.0
PIECE_CHARACTERS = 64 * 1024
"""Of one event: the server takes no message of more than a megabyte."""
PAGE_BYTES = 512 * 1024
"""Of one answer to a reader who has missed something; it asks again for the rest."""


class TurnPublisher:
    """Events of one run, in the order of the calls. Losing one loses nothing: readers notice the gap and ask.

    Nobody who reads ever holds up the turn, and no failure of the bus reaches it. Used as a context manager: START is
    told at its begin; its end tells what is pending, and no more is answered.
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
        self._told = time.monotonic()

    async def __aenter__(self) -> Self:
        # Before START: whoever hears of the run may ask for it at once.
        with suppress(NatsError, OSError):
            self._asked = await self._sender.nc.subscribe(subjects.turn_snapshot(self._turn_id), cb=self._answer)
        self._tell(TurnEventKind.START, {})
        self._beating = asyncio.create_task(self._beat_on())
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._beating is not None:
            self._beating.cancel()
        self._flush()
        if self._asked is not None:
            with suppress(NatsError, OSError):
                await self._asked.unsubscribe()

    @property
    def run(self) -> int:
        return self._log.run

    async def text(self, delta: str) -> None:
        self._grow(TurnEventKind.MESSAGE, delta)

    async def thinking(self, delta: str) -> None:
        self._grow(TurnEventKind.THINKING, delta)

    async def put(self, kind: TurnEventKind, data: Mapping[str, Any]) -> None:
        """After a terminal event nothing more is told."""
        self._flush()
        self._tell(kind, data)

    def part(self, kind: TurnEventKind, data: Mapping[str, Any]) -> dict[str, Any]:
        """As the row keeps what is told last: before it is told."""
        seq = self._log.last + 1
        return {"part_id": f"{self._log.run}-{seq}", "type": kind.value, "data": dict(data), "timestamp": time.time()}

    async def settled(self) -> Sequence[Mapping[str, Any]]:
        """The parts so far, each text whole: what the row keeps."""
        self._flush()
        return self._log.parts()

    def _grow(self, kind: TurnEventKind, delta: str) -> None:
        if not delta:
            return
        if kind is not self._pending_kind:
            self._flush()
            self._pending_kind = kind
        self._pending.append(delta)
        if self._flusher is not None:
            return
        wait = self._told + self._coalesce - time.monotonic()
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
        # All are noted before the first is sent: what is told meanwhile comes after them.
        for event in [self._noted(self._pending_kind, {"text": piece}) for piece in pieces]:
            self._send(event)

    def _tell(self, kind: TurnEventKind, data: Mapping[str, Any]) -> None:
        self._send(self._noted(kind, data))

    def _noted(self, kind: TurnEventKind, data: Mapping[str, Any]) -> TurnEvent | None:
        """None once the run has ended."""
        if self._log.ended:
            return None
        event = TurnEvent(self._log.run, self._log.last + 1, kind, data, time.time())
        self._log.append(event)
        return event

    def _send(self, event: TurnEvent | None) -> None:
        if event is not None:
            self._told = time.monotonic()
            self._sender.send(self._subject, event.encode())

    async def _beat_on(self) -> None:
        while not self._log.ended:
            quiet = time.monotonic() - self._told
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
