"""Waiting for what no event tells of: rows, files, other processes."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

T = TypeVar("T")

EVERY = 0.1


async def until(look: Callable[[], Awaitable[T]], *, within: float = 30.0, every: float = EVERY) -> T:
    """The first true answer of ``look``; after ``within`` seconds an ``AssertionError`` with its last one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within
    while not (found := await look()):
        if loop.time() > deadline:
            message = f"still {found!r} after {within:.0f} s"
            raise AssertionError(message)
        await asyncio.sleep(every)
    return found
