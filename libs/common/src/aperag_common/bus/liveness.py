"""Whether a consume loop moves: bound, answered, and not starved of messages that wait."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

STALLED_SECONDS = 30.0
LOOK_SECONDS = 10.0
"""How often a consumer that brings nothing is asked whether something waits."""


@dataclass(slots=True)
class Liveness:
    """What readiness looks at, in monotonic times.

    ``polled`` is the last answer from the consumer, ``looked`` the last look at what waits there, and
    ``starved_since`` when messages were first seen to wait although slots are free; None once one comes.
    """

    bound: bool = False
    polled: float = 0.0
    looked: float = 0.0
    starved_since: float | None = None
    clock: Callable[[], float] = time.monotonic

    def answered(self, *, fetched: bool) -> None:
        self.bound = True
        self.polled = self.clock()
        if fetched:
            self.fed()

    def fed(self) -> None:
        """A message came, or none was asked for because all slots are busy."""
        self.polled = self.looked = self.clock()
        self.starved_since = None

    def wants_look(self) -> bool:
        """Nothing came, and for some time nobody has looked whether something waits."""
        if self.clock() - self.looked < LOOK_SECONDS:
            return False
        self.looked = self.clock()
        return True

    def saw(self, waiting: int) -> bool:
        """Take note of how many messages wait; False where they have waited so long that the way here is broken."""
        if not waiting:
            self.starved_since = None
        elif self.starved_since is None:
            self.starved_since = self.clock()
        return self._starved() <= STALLED_SECONDS

    def problem(self, consumer: str, *, free: int) -> str | None:
        """Why the consumer does not move. A loop whose ``free`` slots are none asks for nothing, and is well."""
        if not self.bound:
            return f"consumer {consumer} is not bound"
        if free <= 0:
            return None
        if (silent := self.clock() - self.polled) > STALLED_SECONDS:
            return f"consumer {consumer} has not answered for {silent:.0f} s"
        if (starved := self._starved()) > STALLED_SECONDS:
            return f"consumer {consumer} does not move: messages wait, and none has come for {starved:.0f} s"
        return None

    def _starved(self) -> float:
        return 0.0 if self.starved_since is None else self.clock() - self.starved_since
