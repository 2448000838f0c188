"""Calls that come close together are made together: many small transactions become few larger ones under load."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

T = TypeVar("T")
R = TypeVar("R")

MOST = 32
"""Items of one run: what a transaction holds locked, and what an error makes run again one by one."""

LINGER_SECONDS = 0.15
"""How long a run waits for more items while more are expected."""


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[T, R]):
    item: T
    future: asyncio.Future[R]
    context: contextvars.Context


class Batcher(Generic[T, R]):
    """``run`` answers a batch in its order. A batch that raises is run again item by item: ``run`` must bear that.

    What comes during a run shares the next one. A run also waits a little while ``expected`` says, of the number
    that waits, that it pays to; without it, and for a lone item, a run starts at once.
    The run's context (its trace) is that of the batch's first item.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R]]],
        *,
        most: int = MOST,
        expected: Callable[[int], bool] | None = None,
    ) -> None:
        self._run = run
        self._most = most
        self._expected = expected
        self._came = asyncio.Event()
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._runner: asyncio.Task[None] | None = None

    def submit(self, item: T) -> asyncio.Future[R]:
        """Cancel the future and the item is left out, unless its run has begun."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, future, contextvars.copy_context()))
        self._came.set()
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._drain())
        return future

    async def _drain(self) -> None:
        while self._waiting:
            await self._linger()
            taken = [self._waiting.popleft() for _ in range(min(self._most, len(self._waiting)))]
            batch = [waiting for waiting in taken if not waiting.future.done()]
            if batch:
                await asyncio.create_task(self._answer(batch), context=batch[0].context)

    async def _linger(self) -> None:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(LINGER_SECONDS):
                while self._expected and len(self._waiting) < self._most and self._expected(len(self._waiting)):
                    self._came.clear()
                    await self._came.wait()

    async def _answer(self, batch: Sequence[_Waiting[T, R]]) -> None:
        try:
            results = await self._run([waiting.item for waiting in batch])
        except Exception as err:  # noqa: BLE001  # handed to whoever waits
            if len(batch) > 1:
                for waiting in batch:
                    await self._answer([waiting])
            elif not batch[0].future.done():
                batch[0].future.set_exception(err)
            return
        for waiting, result in zip(batch, results, strict=True):
            if not waiting.future.done():
                waiting.future.set_result(result)
