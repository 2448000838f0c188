"""Live messages of one process on their way to the server, many in one write."""

from __future__ import annotations

import asyncio
import time
from typing import TYPE_CHECKING

import structlog
from nats.errors import Error as NatsError

if TYPE_CHECKING:
    from nats.aio.client import Client

log = structlog.get_logger(__name__)

TOGETHER_SECONDS = 0.005
"""A hundred turns at once cost a tenth of the writes, here and in the server, for a delay that nobody sees."""


class Sender:
    """Sends in the order of the calls. What comes within ``together`` seconds of a write waits for the next one; what
    comes after a pause waits for nothing. Nobody waits for the server, and what it cannot take is lost.
    """

    def __init__(self, nc: Client, *, together: float = TOGETHER_SECONDS) -> None:
        self.nc = nc
        self._together = together
        self._waiting: list[tuple[str, bytes]] = []
        self._sent = 0.0
        self._sending: asyncio.Task[None] | None = None

    def send(self, subject: str, payload: bytes) -> None:
        self._waiting.append((subject, payload))
        if self._sending is None:
            self._sending = asyncio.create_task(self._send())

    async def close(self) -> None:
        """All of it is on its way to the server when this returns."""
        self._together = 0.0
        while self._sending is not None:
            await asyncio.wait({self._sending})

    async def _send(self) -> None:
        """Until nothing waits any more; whatever ends it, the next message begins anew."""
        try:
            while self._waiting:
                pause = self._sent + self._together - time.monotonic()
                if pause > 0:
                    await asyncio.sleep(pause)
                self._sent = time.monotonic()
                waiting, self._waiting = self._waiting, []
                for subject, payload in waiting:  # the client writes at its next turn: all of these at once
                    await self._publish(subject, payload)
        finally:
            self._sending = None

    async def _publish(self, subject: str, payload: bytes) -> None:
        try:
            await self.nc.publish(subject, payload)
        except (NatsError, OSError) as err:
            log.warning("live.unsent", subject=subject, error=repr(err))
