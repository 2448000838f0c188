"""What this process remembers of users and what they own, so that not every request asks the database.

A memory lasts for seconds, and is forgotten at once where an event says that it changed. So with NATS away, or an event
late, this process knows what held some seconds ago, and never anything older.
"""

from __future__ import annotations

import time
from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar

from aperag_common.events import accounts, facts

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Hashable
    from datetime import timedelta

V = TypeVar("V")

MOST = 20_000
"""Values in all; beyond that all of them are looked up anew."""

CHANGING = frozenset(
    fact.type_name
    for fact in (
        accounts.UserUpdated,
        accounts.UserDeleted,
        accounts.KeyRevoked,
        facts.CollectionUpdated,
        facts.CollectionShared,
        facts.CollectionUnshared,
        facts.CollectionDeleted,
    )
)
"""Types of events after which nothing that is remembered of their owner may be used."""


@dataclass(frozen=True, slots=True)
class Fresh(Generic[V]):
    """What was just looked up: events of ``owner`` may change it, and after ``seconds`` it holds no longer in any case."""

    value: V
    owner: str
    seconds: float | None = None


class Memories:
    """All that one gateway remembers; ``kept`` is the longest time, zero for nothing at all."""

    def __init__(self, kept: timedelta, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._seconds = kept.total_seconds()
        self._clock = clock
        self._known: dict[Hashable, tuple[Any, float]] = {}
        self._of_owner: defaultdict[str, set[Hashable]] = defaultdict(set)
        self._forgotten = 0

    def changed(self, type_: str, owner: str) -> None:
        """An event of this type happened to what this user owns."""
        if type_ in CHANGING:
            self._forgotten += 1
            for key in self._of_owner.pop(owner, ()):
                self._known.pop(key, None)

    def forget(self) -> None:
        """Everything: events may have been missed."""
        self._forgotten += 1
        self._known.clear()
        self._of_owner.clear()

    async def find(self, key: Hashable, look: Callable[[], Awaitable[Fresh[V] | None]]) -> V | None:
        """Only what was found is remembered: what is missing may be made at any moment."""
        now, forgotten = self._clock(), self._forgotten
        value: V
        value, until = self._known.get(key, (None, 0.0))
        if now < until:
            return value
        fresh = await look()
        if fresh is None:
            return None
        # Counted from before it was looked up: a key's last second is not made longer by a slow database.
        seconds = self._seconds if fresh.seconds is None else min(self._seconds, fresh.seconds)
        # What was forgotten meanwhile may be what was just read.
        if seconds > 0 and forgotten == self._forgotten:
            self._keep(key, fresh, now + seconds)
        return fresh.value

    def _keep(self, key: Hashable, fresh: Fresh[Any], until: float) -> None:
        if len(self._known) >= MOST:
            self.forget()
        self._known[key] = fresh.value, until
        self._of_owner[fresh.owner].add(key)


@dataclass(frozen=True, slots=True)
class Memory(Generic[V]):
    """Values of one kind, among all others."""

    kind: str
    memories: Memories

    async def find(self, key: Hashable, look: Callable[[], Awaitable[Fresh[V] | None]]) -> V | None:
        return await self.memories.find((self.kind, key), look)
