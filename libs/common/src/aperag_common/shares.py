"""Places that several owners share: none of them gets a second one while another waits for a first."""

from __future__ import annotations

import asyncio
from collections import Counter, deque
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterable

P = TypeVar("P")


@dataclass(eq=False, slots=True)
class _Waiter(Generic[P]):
    """``as_guest``: the guests' place will do as well."""

    as_guest: bool
    given: asyncio.Future[P] = field(default_factory=lambda: asyncio.get_running_loop().create_future())


class Shares(Generic[P]):
    """Hands out ``places``. Of the owners that wait, the one that holds fewest is next, then the one served longest ago.

    ``guests`` is a place that only an owner without any other gets, and only where all others are taken: whoever comes
    to a full house need not wait until work of others ends that may take minutes.

    The last place to come back is the first to go out again: under light load one serves, and the others rest.
    """

    def __init__(self, places: Iterable[P], *, guests: P | None = None) -> None:
        self._free = list(reversed(list(places)))
        self._guests = guests
        self._guests_free = guests is not None
        self._held: Counter[str] = Counter()
        self._waiting: dict[str, deque[_Waiter[P]]] = {}
        self._served: dict[str, int] = {}
        self._rounds = 0

    def is_guests(self, place: P) -> bool:
        return self._guests is not None and place is self._guests

    async def take(self, owner: str, *, as_guest: bool = True) -> P:
        """Whoever takes a place gives it back with ``give_back``."""
        waiter = _Waiter[P](as_guest)
        self._waiting.setdefault(owner, deque()).append(waiter)
        self._hand_out()
        try:
            return await waiter.given
        except BaseException:  # cancelled: a place that was just given goes to the next one
            if waiter.given.done() and not waiter.given.cancelled():
                self.give_back(owner, waiter.given.result())
            else:
                self._leave(owner, waiter)
            raise

    def give_back(self, owner: str, place: P) -> None:
        self._held[owner] -= 1
        if not self._held[owner]:
            del self._held[owner]
        if self.is_guests(place):
            self._guests_free = True
        else:
            self._free.append(place)
        self._hand_out()

    @asynccontextmanager
    async def taken(self, owner: str) -> AsyncIterator[P]:
        place = await self.take(owner)
        try:
            yield place
        finally:
            self.give_back(owner, place)

    def _hand_out(self) -> None:
        while self._free and self._waiting:
            self._give(min(self._waiting, key=self._turn), self._free.pop())
        if self._guests is not None and self._guests_free and not self._free:
            asking = [o for o, it in self._waiting.items() if not self._held[o] and any(w.as_guest for w in it)]
            if asking:
                self._guests_free = False
                self._give(min(asking, key=self._turn), self._guests, as_guest=True)

    def _turn(self, owner: str) -> tuple[int, int]:
        return self._held[owner], self._served.get(owner, 0)

    def _give(self, owner: str, place: P, *, as_guest: bool = False) -> None:
        waiter = next(it for it in self._waiting[owner] if it.as_guest or not as_guest)
        self._leave(owner, waiter)
        self._held[owner] += 1
        self._rounds += 1
        self._served[owner] = self._rounds
        if len(self._served) > _REMEMBERED:
            self._served = dict(sorted(self._served.items(), key=lambda item: item[1])[_REMEMBERED // 2 :])
        waiter.given.set_result(place)

    def _leave(self, owner: str, waiter: _Waiter[P]) -> None:
        waiting = self._waiting.get(owner)
        if waiting is not None and waiter in waiting:
            waiting.remove(waiter)
            if not waiting:
                del self._waiting[owner]


_REMEMBERED = 10_000
"""Owners whose last turn is known; of the others it is long ago."""
