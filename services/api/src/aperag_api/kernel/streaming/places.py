"""How many streams of one user a gateway keeps open: each costs a connection and a share of every event."""

from __future__ import annotations

from contextlib import aclosing
from datetime import timedelta
from typing import TYPE_CHECKING
from weakref import WeakSet

from aperag_api.kernel.http.failures import TooManyRequests

if TYPE_CHECKING:
    from collections.abc import AsyncGenerator

AGAIN = timedelta(seconds=5)


class Place:
    """Taken for as long as somebody holds on to it: a stream that nobody ever read frees it too."""


class StreamPlaces:
    def __init__(self, most: int) -> None:
        self._most = most
        self._taken: dict[str, WeakSet[Place]] = {}

    def take(self, user_id: str) -> Place:
        """Raises ``TooManyRequests`` where the user has none left."""
        self._taken = {owner: taken for owner, taken in self._taken.items() if taken}
        taken = self._taken.setdefault(user_id, WeakSet())
        if len(taken) >= self._most:
            message = f"{self._most} streams of yours are open here: close one before you open the next"
            raise TooManyRequests(message, retry_after=AGAIN)
        place = Place()
        taken.add(place)
        return place


async def holding(frames: AsyncGenerator[bytes, None], place: Place) -> AsyncGenerator[bytes, None]:
    """The same frames; ``place`` is free when they have ended."""
    async with aclosing(frames):
        async for frame in frames:
            yield frame
    del place
