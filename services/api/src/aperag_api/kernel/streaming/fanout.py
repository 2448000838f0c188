"""Events of this process, given to whoever listens for their owner; a slow listener never holds up another."""

from __future__ import annotations

import asyncio
import json
from contextlib import contextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Self
from weakref import WeakSet

from aperag_common import subjects

if TYPE_CHECKING:
    from collections.abc import Iterator


EVERYBODY = "*"
"""In an owner's place: a listener to the events of all owners. No owner is called so."""


@dataclass(frozen=True, slots=True, order=True)
class Position:
    """Where a message stands: ``epoch`` is the life of the stream, ``seq`` its number in that life."""

    epoch: int
    seq: int

    @classmethod
    def parse(cls, text: str) -> Self | None:
        epoch, _, seq = text.strip().partition("-")
        legal = all(part.isascii() and part.isdigit() and len(part) < 20 for part in (epoch, seq))
        return cls(int(epoch), int(seq)) if legal else None

    def __str__(self) -> str:
        return f"{self.epoch}-{self.seq}"


@dataclass(frozen=True, slots=True)
class Delivered:
    """A message of the stream; ``pending`` is how many matching messages the stream held after this one."""

    seq: int
    subject: str
    body: bytes
    pending: int


@dataclass(frozen=True, slots=True)
class Event:
    """``body`` is the envelope as it was published; ``document_id`` and ``collection_id`` as far as it names them."""

    position: Position
    type: str
    owner: str
    document_id: str | None
    collection_id: str | None
    body: bytes

    @classmethod
    def of(cls, message: Delivered, epoch: int) -> Self | None:
        """None for what is no event: whoever reads on must not stop at what somebody sent who is broken or taken over."""
        try:
            subject, said = subjects.parse_event(message.subject), json.loads(message.body)
            data = said.get("data") or {}
            about = data.get("document_id"), data.get("collection_id")
        except (ValueError, AttributeError, RecursionError):
            return None
        if b"\n" in message.body or b"\r" in message.body or not all(it is None or isinstance(it, str) for it in about):
            return None
        return cls(Position(epoch, message.seq), subject.type, subject.owner, *about, message.body)


class Signal(StrEnum):
    """What can come instead of an event: RESET goes on, the others are the last."""

    RESET = "the event stream has started anew"
    LAGGED = "this reader fell too far behind"
    CLOSED = "the gateway is closing"


class Listener:
    """One reader's share of the events, in order."""

    def __init__(self, owner: str, limit: int) -> None:
        self.owner = owner
        self._limit = limit
        self._items: list[Event | Signal] = []
        self._filled = asyncio.Event()

    async def take(self) -> list[Event | Signal]:
        """Everything that has come since the last call; waits while that is nothing."""
        await self._filled.wait()
        items, self._items = self._items, []
        self._filled.clear()
        return items

    def offer(self, event: Event) -> bool:
        """False when this listener had to be given up."""
        if len(self._items) >= self._limit:
            self.signal(Signal.LAGGED)
            return False
        self._items.append(event)
        self._filled.set()
        return True

    def signal(self, signal: Signal) -> None:
        """Replaces what has not been read: after it the reader looks at the rows, or leaves."""
        self._items = [signal]
        self._filled.set()


class Fanout:
    """``limit`` is how many events a listener may lag."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        # Weak, so that a reader which never got to its first read is forgotten with its request.
        self._listeners: dict[str, WeakSet[Listener]] = {}

    def join(self, owner: str) -> Listener:
        """``owner`` may be ``EVERYBODY``: whether the reader may is seen before."""
        listener = Listener(owner, self._limit)
        self._listeners.setdefault(owner, WeakSet()).add(listener)
        return listener

    def leave(self, listener: Listener) -> None:
        of_owner = self._listeners.get(listener.owner, WeakSet())
        of_owner.discard(listener)
        if not of_owner:
            self._listeners.pop(listener.owner, None)

    @contextmanager
    def listen(self, owner: str) -> Iterator[Listener]:
        listener = self.join(owner)
        try:
            yield listener
        finally:
            self.leave(listener)

    def publish(self, message: Delivered, epoch: int) -> bool:
        """False for what is no event; what nobody listens to is not read."""
        try:
            owner = subjects.parse_event(message.subject).owner
        except ValueError:
            return False
        listeners = [*self._listeners.get(owner, ()), *self._listeners.get(EVERYBODY, ())]
        if not listeners:
            return True
        event = Event.of(message, epoch)
        if event is None:
            return False
        for listener in listeners:
            if not listener.offer(event):
                self.leave(listener)
        return True

    def signal(self, signal: Signal) -> None:
        for listeners in list(self._listeners.values()):
            for listener in list(listeners):
                listener.signal(signal)
