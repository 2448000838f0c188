"""Background tasks: kept going, and ended for certain."""

from __future__ import annotations

import asyncio
import contextlib
from typing import TYPE_CHECKING, Any

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterable

log = structlog.get_logger(__name__)

AGAIN_SECONDS = 0.1


async def repeat(
    work: Callable[[], Awaitable[Any]],
    *,
    every: float,
    failed: str,
    expected: tuple[type[Exception], ...] = (),
    again: float | None = None,
    woken: asyncio.Event | None = None,
) -> None:
    """Runs until cancelled. Whatever one run meets, the next one comes: nobody else would start it again.

    ``failed`` is the log event of a run that fails, without a stack where the error is one of the ``expected``; the next
    one comes after ``again`` seconds then. ``woken`` makes it come at once.
    """
    woken = woken or asyncio.Event()
    while True:
        woken.clear()
        delay = every
        try:
            await work()
        except Exception as err:  # nobody else would start it again
            log.warning(failed, error=repr(err), exc_info=not isinstance(err, expected))
            delay = every if again is None else again
        await wait_at_most(delay, woken)


async def wait_at_most(seconds: float, event: asyncio.Event) -> None:
    """Not wait_for: Python 3.11's may swallow a cancellation that meets its result."""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await event.wait()


async def end_tasks(*tasks: asyncio.Task[Any]) -> None:
    """Cancel until every one has ended; what they raised is not raised again.

    In Python 3.11 ``wait_for``, which the NATS client awaits at every request, swallows a cancellation that meets its
    result: a task that is cancelled once may go on for ever.
    """
    left: Iterable[asyncio.Task[Any]] = [task for task in tasks if not task.done()]
    while left:
        for task in left:
            task.cancel()
        _, left = await asyncio.wait(left, timeout=AGAIN_SECONDS)
    await asyncio.gather(*tasks, return_exceptions=True)
