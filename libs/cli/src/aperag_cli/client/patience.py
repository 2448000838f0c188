"""Trying again for a bounded time while a gateway is away."""

from __future__ import annotations

import asyncio
import random
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeVar

from aperag_cli.client.errors import ServerFailed, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from aperag_cli.client.errors import ApiError

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Patience:
    """Gives up ``seconds`` after the first failure; in between it waits longer each time."""

    seconds: float = 60.0
    first: float = 0.5
    longest: float = 8.0

    def delay(self, failures: int, err: ApiError) -> float:
        """Seconds until the next try: at least what the gateway asked for, and never all clients at once."""
        own = min(self.first * 2.0 ** min(failures - 1, 30), self.longest) * random.uniform(0.75, 1.0)  # noqa: S311  no secret
        asked = err.retry_after if isinstance(err, ServerFailed) else None
        return max(own, asked or 0.0)

    async def get(self, attempt: Callable[[], Awaitable[T]], *, told: Callable[[ApiError], None]) -> T:
        """What ``attempt`` answers in the end; ``told`` hears of each failure that is tried again."""
        clock = asyncio.get_running_loop().time
        failures = 0
        deadline = 0.0
        while True:
            try:
                return await attempt()
            except (Unreachable, ServerFailed) as err:
                failures += 1
                deadline = deadline or clock() + self.seconds
                delay = self.delay(failures, err)
                if not may_pass(err) or clock() + delay > deadline:
                    raise
                told(err)
            await asyncio.sleep(delay)


def may_pass(err: ApiError) -> bool:
    """Whether the same request may succeed later."""
    return isinstance(err, Unreachable) or (isinstance(err, ServerFailed) and err.retryable)
