"""EventPublisher that a long call is still at work."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import Any, cast

from aperag_mcp.progress import ticking


@dataclass(slots=True)
class Listener:
    """Stands for the framework's context: it only hears progress."""

    heard: list[tuple[float, float | None, str | None]] = field(default_factory=list)
    often: asyncio.Event = field(default_factory=asyncio.Event)

    async def report_progress(self, progress: float, total: float | None = None, message: str | None = None) -> None:
        self.heard.append((progress, total, message))
        if len(self.heard) >= 3:
            self.often.set()


async def test_a_long_call_is_told_of_again_and_again_with_growing_progress() -> None:
    listener = Listener()
    async with ticking(cast("Any", listener), "Searching", seconds=60, every=0.01):
        await asyncio.wait_for(listener.often.wait(), 30)
    values = [progress for progress, _, _ in listener.heard]
    assert values == sorted(set(values))
    assert {(total, message) for _, total, message in listener.heard} == {(60, "Searching")}
    told = len(listener.heard)
    await asyncio.sleep(0)
    assert len(listener.heard) == told, "the end of the call is the end of its progress"


async def test_a_short_call_is_not_told_of() -> None:
    listener = Listener()
    async with ticking(cast("Any", listener), "Searching", seconds=60, every=30):
        pass
    assert listener.heard == []
