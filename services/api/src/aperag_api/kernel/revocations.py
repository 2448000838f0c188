"""What ended or changed, as events tell: whatever remembers it, or was opened with a key that ended, is told here."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any, Protocol

import structlog

from aperag_common.tasks import end_tasks

if TYPE_CHECKING:
    from collections.abc import Coroutine

    from aperag_api.kernel.memory import Memories

log = structlog.get_logger(__name__)


class RevocationListener(Protocol):
    async def revoked(self, key_id: str) -> None:
        """The key is worth nothing any more."""
        ...

    async def missed(self) -> None:
        """Some may have ended unheard, as while this process was not there: look at each key again."""
        ...


class Revocations:
    """Telling returns at once: a listener that is slow, or fails, holds up neither the events nor the other listeners.

    ``memories`` have forgotten when it returns.
    """

    def __init__(self, memories: Memories) -> None:
        self._memories = memories
        self._listeners: list[RevocationListener] = []
        self._running: set[asyncio.Task[None]] = set()

    def add(self, listener: RevocationListener) -> None:
        self._listeners.append(listener)

    def remove(self, listener: RevocationListener) -> None:
        self._listeners.remove(listener)

    def changed(self, type_: str, owner: str) -> None:
        """An event of this type, of this owner."""
        self._memories.changed(type_, owner)

    def revoked(self, key_id: str) -> None:
        for listener in self._listeners:
            self._start(listener.revoked(key_id))

    def missed(self) -> None:
        self._memories.forget()
        for listener in self._listeners:
            self._start(listener.missed())

    async def close(self) -> None:
        await end_tasks(*self._running)

    def _start(self, call: Coroutine[Any, Any, None]) -> None:
        task = asyncio.create_task(call)
        self._running.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (err := task.exception()) is not None:
            log.error("revocation.unheard", exc_info=err)
