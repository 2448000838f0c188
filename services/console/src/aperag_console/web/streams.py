"""Answers that are passed on while the gateway sends them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_console.gateway.failures import GatewayFailure

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from contextlib import AsyncExitStack

    import httpx

EVENTS = "text/event-stream"
UNBUFFERED = {"Cache-Control": "no-store", "X-Accel-Buffering": "no"}


async def passed_on(opened: AsyncExitStack, source: httpx.Response) -> AsyncIterator[bytes]:
    """A lost gateway ends the stream. However it ends, the connection to the gateway is free again."""
    try:
        async with opened:
            async for piece in source.aiter_raw():
                yield piece
    except GatewayFailure:
        return
