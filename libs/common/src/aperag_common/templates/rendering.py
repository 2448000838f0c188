"""Templates handed to a process that may die of them."""

from __future__ import annotations

from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_common.pool import ProcessPool
from aperag_common.templates.sandbox import Examined, Rendered, examine, limit_memory, render

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping
    from typing import Any

PROCESSES = 1
MOST_WAITING = 16
"""Of all users, in one gateway: one of them may take seconds."""
RETRY_AFTER = timedelta(seconds=5)
IDLE_SECONDS = 60.0
ABANDONED_SECONDS = 0.5
LAST_RESORT_SECONDS = 20.0
"""A single step inside a template that no signal interrupts; it ends the process. A start of one counts too."""

_LOST = "it took too long, or ended the process that rendered it"


class Templates:
    """The same limits hold for whatever renders what users wrote.

    Where more than ``most_waiting`` wait for it, ``Busy`` is raised; with None everybody waits for their turn.
    """

    def __init__(self, *, most_waiting: int | None = MOST_WAITING, processes: int = PROCESSES) -> None:
        self._most = most_waiting
        self._waiting = 0
        self._pool = ProcessPool(
            processes, initializer=limit_memory, idle_seconds=IDLE_SECONDS, abandoned_seconds=ABANDONED_SECONDS
        )

    async def close(self) -> None:
        await self._pool.close()

    async def examine(self, template: str) -> Examined:
        try:
            async with self._place():
                return await self._pool.run(examine, template, seconds=LAST_RESORT_SECONDS)
        except errors.Busy:
            raise
        except (TimeoutError, errors.Retryable):
            return Examined(_LOST)

    async def render(self, template: str, variables: Mapping[str, Any]) -> Rendered:
        try:
            async with self._place():
                return await self._pool.run(render, template, dict(variables), seconds=LAST_RESORT_SECONDS)
        except errors.Busy:
            raise
        except (TimeoutError, errors.Retryable):
            return Rendered(None, _LOST)

    @asynccontextmanager
    async def _place(self) -> AsyncIterator[None]:
        if self._most is not None and self._waiting >= self._most:
            raise errors.Busy("Too many templates are being tried: try again", retry_after=RETRY_AFTER)
        self._waiting += 1
        try:
            yield
        finally:
            self._waiting -= 1
