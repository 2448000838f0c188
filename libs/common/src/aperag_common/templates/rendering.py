"""Templates handed to a process that may die of them."""

from __future__ import annotations

from collections import Counter
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING

from aperag_common import errors
from aperag_common.pool import ProcessPool
from aperag_common.templates.sandbox import CPU_SECONDS, Examined, Rendered, begin, examine, render

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any

MOST_OF_ONE = 4
"""Templates of one user, at work and waiting: each may take seconds."""
RETRY_AFTER = timedelta(seconds=5)
IDLE_SECONDS = 60.0
ABANDONED_SECONDS = 0.5
LAST_RESORT_SECONDS = 20.0
"""A single step inside a template that no signal interrupts; it ends the process."""
LAST_RESORT_CPU_SECONDS = 2 * round(CPU_SECONDS)

_LOST = "it took too long, or ended the process that rendered it"


class Templates:
    """The same limits hold for whatever renders what users wrote, and users share the processes.

    More than ``of_one`` user's at a time are refused with ``Busy``; with None they wait for their turn.
    """

    def __init__(self, *, of_one: int | None = MOST_OF_ONE, processes: int = 1) -> None:
        self._of_one = of_one
        self._at_work: Counter[str] = Counter()
        self._pool = ProcessPool(
            processes,
            guests=True,
            initializer=begin,
            idle_seconds=IDLE_SECONDS,
            abandoned_seconds=ABANDONED_SECONDS,
        )

    async def close(self) -> None:
        await self._pool.close()

    async def examine(self, template: str, owner: str) -> Examined:
        try:
            with self._place(owner):
                return await self._pool.run(
                    examine, template, seconds=LAST_RESORT_SECONDS, cpu_seconds=LAST_RESORT_CPU_SECONDS, owner=owner
                )
        except errors.Busy:
            raise
        except (TimeoutError, errors.Retryable):
            return Examined(_LOST)

    async def render(self, template: str, variables: Mapping[str, Any], owner: str) -> Rendered:
        try:
            with self._place(owner):
                return await self._pool.run(
                    render,
                    template,
                    dict(variables),
                    seconds=LAST_RESORT_SECONDS,
                    cpu_seconds=LAST_RESORT_CPU_SECONDS,
                    owner=owner,
                )
        except errors.Busy:
            raise
        except (TimeoutError, errors.Retryable):
            return Rendered(None, _LOST)

    @contextmanager
    def _place(self, owner: str) -> Iterator[None]:
        if self._of_one is not None and self._at_work[owner] >= self._of_one:
            message = f"{self._of_one} of your templates are being tried: try again when one of them is done"
            raise errors.Busy(message, retry_after=RETRY_AFTER)
        self._at_work[owner] += 1
        try:
            yield
        finally:
            self._at_work[owner] -= 1
            if not self._at_work[owner]:
                del self._at_work[owner]
