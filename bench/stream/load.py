"""What is said: ``turns`` at once, each so often a second, for so long. Each event carries its moment and its number."""

from __future__ import annotations

import asyncio
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Say = Callable[[int, str], Awaitable[None]]


@dataclass(frozen=True, slots=True)
class Load:
    """``rate`` is of one turn, per second."""

    turns: int
    rate: float
    seconds: float

    @property
    def events(self) -> int:
        """Of one turn."""
        return int(self.rate * self.seconds)


async def speak(load: Load, say: Say) -> None:
    """The turns speak one after the other, evenly spread: no two at the same moment.

    Late events are said at once, with the moment at which they should have been said: who cannot keep up is not
    measured as quick.
    """
    begun = time.time() + 0.1
    apart = 1 / (load.rate * load.turns)
    for number in range(load.events * load.turns):
        due = begun + number * apart
        ahead = due - time.time()
        if ahead > 0:
            await asyncio.sleep(ahead)
        elif number % load.turns == 0:
            await asyncio.sleep(0)
        await say(number % load.turns, f"{due:.6f}:{number // load.turns} ")
