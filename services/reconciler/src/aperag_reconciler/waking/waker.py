"""Redrives and releases soon after a wake; many wakes in a row become one run."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import structlog

from aperag_work.database import FAILURES

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.msg import Msg

log = structlog.get_logger(__name__)

GATHER_SECONDS = 0.05
"""Wakes that come within this time are answered by one run."""


class Waker:
    def __init__(self, run: Callable[[], Awaitable[Any]]) -> None:
        self._run = run
        self._woken = asyncio.Event()

    def wake(self) -> None:
        self._woken.set()

    async def on_wake(self, _: Msg) -> None:
        self.wake()

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await self._woken.wait()
            await asyncio.sleep(GATHER_SECONDS)
            self._woken.clear()
            try:
                await self._run()
            except FAILURES as err:
                log.warning("release.failed", error=repr(err))  # the timer comes back to it
            except Exception:  # nobody would start this task again
                log.exception("release.failed")
