"""Templates handed to a process that may die of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.prompts.sandbox import Examined, Rendered, examine, limit_memory, render
from aperag_common import errors
from aperag_common.pool import ProcessPool

if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

PROCESSES = 1
IDLE_SECONDS = 60.0
ABANDONED_SECONDS = 0.5
LAST_RESORT_SECONDS = 20.0
"""A single step inside a template that no signal interrupts; it ends the process. A start of one counts too."""

_LOST = "it took too long, or ended the process that rendered it"


class Templates:
    """The same limits hold for whatever renders what users wrote."""

    def __init__(self) -> None:
        self._pool = ProcessPool(
            PROCESSES, initializer=limit_memory, idle_seconds=IDLE_SECONDS, abandoned_seconds=ABANDONED_SECONDS
        )

    async def close(self) -> None:
        await self._pool.close()

    async def examine(self, template: str) -> Examined:
        try:
            return await self._pool.run(examine, template, seconds=LAST_RESORT_SECONDS)
        except (TimeoutError, errors.Retryable):
            return Examined(_LOST)

    async def render(self, template: str, variables: Mapping[str, Any]) -> Rendered:
        try:
            return await self._pool.run(render, template, dict(variables), seconds=LAST_RESORT_SECONDS)
        except (TimeoutError, errors.Retryable):
            return Rendered(None, _LOST)
