"""EventPublisher a client that asked for it that a long call is still at work."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastmcp import Context

EVERY_SECONDS = 2.0


@asynccontextmanager
async def ticking(ctx: Context, what: str, *, seconds: float, every: float = EVERY_SECONDS) -> AsyncIterator[None]:
    """Progress in seconds of at most ``seconds``; a client that hears nothing for long gives up.

    A call that is done before the first tick costs nothing.
    """

    async def tick() -> None:
        loop = asyncio.get_running_loop()
        begun = loop.time()
        while True:
            await asyncio.sleep(every)
            await ctx.report_progress(min(loop.time() - begun, seconds), seconds, what)

    telling = asyncio.create_task(tick())
    try:
        yield
    finally:
        telling.cancel()
        await asyncio.gather(telling, return_exceptions=True)
