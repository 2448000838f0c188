"""What operators ask of timers."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.kernel.reading import reading
from aperag_api.operations.timers import repository
from aperag_api.operations.timers.schemas import TimerOut, TimerRequested, TimersOut, TimerState
from aperag_common import errors
from aperag_common.events.ticks import TimerName

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.publish import Publisher

PUBLISHED = "The timer was asked to run; a reconciler takes it up at once."
WAITING = "A run of this timer is waiting or under way already; no second one is needed."


@dataclass(frozen=True, slots=True)
class TimerService:
    engine: AsyncEngine
    publisher: Publisher

    async def list(self) -> TimersOut:
        async with reading(self.engine) as conn:
            found = await repository.timers(conn)
        return TimersOut(items=[found.get(name) or _unseen(name) for name in TimerName])

    async def run(self, name: str) -> TimerRequested:
        if name not in set(TimerName):
            raise errors.NotFound(f"Timer {name} not found; there are: {', '.join(TimerName)}")
        async with reading(self.engine) as conn:
            before = (await repository.timers(conn)).get(name) or _unseen(name)
        published = await self.publisher.tick(name)
        message = PUBLISHED if published else WAITING
        return TimerRequested(name=name, published=published, message=message, runs=before.runs)


def _unseen(name: str) -> TimerOut:
    return TimerOut(name=name, state=TimerState.NEVER)
