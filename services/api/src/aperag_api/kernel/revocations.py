"""API keys that ended: whatever remembers a key, or was opened with one, is told here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from aperag_common.tasks import end_tasks

if TYPE_CHECKING:
    from collections.abc import Coroutine

log = structlog.get_logger(__name__)


class RevocationListener(Protocol):
    async def revoked(self, key_id: str) -> None:
        """The key is worth nothing any more."""
        ...

    async def missed(self) -> None:
        """Some may have ended unheard, as while this process was not there: look at each key again."""
        ...


class Revocations:
    """Telling returns at once: a listener that is slow, or fails, holds up neither the events nor the other listeners."""

    def __init__(self) -> None:
        self._listeners: list[RevocationListener] = []
        self._telling: set[asyncio.Task[None]] = set()

    def add(self, listener: RevocationListener) -> None:
        self._listeners.append(listener)

    def remove(self, listener: RevocationListener) -> None:
        self._listeners.remove(listener)

    def revoked(self, key_id: str) -> None:
        for listener in self._listeners:
            self._tell(listener.revoked(key_id))

    def missed(self) -> None:
        for listener in self._listeners:
            self._tell(listener.missed())

    async def close(self) -> None:
        await end_tasks(*self._telling)

    def _tell(self, telling: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(telling)
        self._telling.add(task)
        task.add_done_callback(self._told)

    def _told(self, task: asyncio.Task[None]) -> None:
        self._telling.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None:
            log.error("revocation.unheard", exc_info=err)
