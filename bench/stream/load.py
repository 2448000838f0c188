"""What is said: ``turns`` at once, each so often a second, for so long. Each event carries its moment and its number."""

from __future__ import annotations

import asyncio
import gc
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    Say = Callable[[int, str], Awaitable[None]]


STEP = 0.001
"""Seconds: the speaker shares its cores with all that is measured."""


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
    """The turns speak one after the other, evenly spread; what is due within the same millisecond is said at once.

    Late events are said at once, with the moment at which they should have been said: who cannot keep up is not
    measured as quick.
    """
    # As every service does once it has started: a full collection over all of its modules would be heard as a pause.
    gc.collect()
    gc.freeze()
    begun = time.time() + 0.1
    apart = 1 / (load.rate * load.turns)
    for number in range(load.events * load.turns):
        due = begun + number * apart
        if due > time.time():
            await asyncio.sleep(max(due - time.time(), STEP))
        elif number % load.turns == 0:
            await asyncio.sleep(0)
        await say(number % load.turns, f"{due:.6f}:{number // load.turns} ")
