"""Calls that come close together are made together: many small transactions become few larger ones under load."""

from __future__ import annotations

import asyncio
import contextvars
from collections import deque
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Generic, Literal, TypeVar

import structlog

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

log = structlog.get_logger(__name__)

T = TypeVar("T")
R = TypeVar("R")

MOST = 64
"""Items of one run: what a transaction holds locked, and what an error makes run again one by one."""


class Blocked(Enum):
    """In place of a result: something holds this item up, the others need not wait for it."""

    BLOCKED = "held"


BLOCKED: Literal[Blocked.BLOCKED] = Blocked.BLOCKED


@dataclass(frozen=True, slots=True, eq=False)
class _Waiting(Generic[T, R]):
    item: T
    future: asyncio.Future[R]
    context: contextvars.Context

    def fail(self, err: Exception) -> None:
        if not self.future.done():
            self.future.set_exception(err)


class Batcher(Generic[T, R]):
    """``run`` answers a batch in its order. A batch that raises is run again item by item: ``run`` must bear that.

    A run starts at once with what is there; what comes meanwhile shares the next one. ``weight`` of the items of a run
    is ``heaviest`` at most in all, a single item excepted. An item that ``run`` answers with ``BLOCKED`` is run again
    alone, beside what comes next; a lone item must not be answered so.
    The run's context (its trace) is that of the batch's first item. An error of ``unreachable`` kind, met by an item
    that is run again, is told to the rest without trying.
    """

    def __init__(
        self,
        run: Callable[[Sequence[T]], Awaitable[Sequence[R | Blocked]]],
        *,
        most: int = MOST,
        weight: Callable[[T], int] = lambda _: 0,
        heaviest: int = 1,
        unreachable: tuple[type[BaseException], ...] = (),
    ) -> None:
        self._run = run
        self._most = most
        self._weight = weight
        self._heaviest = heaviest
        self._unreachable = unreachable
        self._waiting: deque[_Waiting[T, R]] = deque()
        self._runner: asyncio.Task[None] | None = None
        self._alone: set[asyncio.Task[Exception | None]] = set()

    def submit(self, item: T) -> asyncio.Future[R]:
        """Cancel the future and the item is left out, unless its run has begun."""
        future: asyncio.Future[R] = asyncio.get_running_loop().create_future()
        self._waiting.append(_Waiting(item, future, contextvars.copy_context()))
        if self._runner is None or self._runner.done():
            self._runner = asyncio.create_task(self._drain())
        return future

    async def idle(self) -> None:
        """Return when nothing is waiting or running."""
        while running := [it for it in (self._runner, *self._alone) if it is not None and not it.done()]:
            await asyncio.wait(running)

    async def _drain(self) -> None:
        taken: list[_Waiting[T, R]] = []
        try:
            while self._waiting:
                taken = self._next()
                batch = [waiting for waiting in taken if not waiting.future.done()]
                if batch:
                    await asyncio.create_task(self._answer(batch), context=batch[0].context)
        except asyncio.CancelledError:
            for waiting in (*taken, *self._waiting):
                waiting.future.cancel()  # nobody would ever answer it
            self._waiting.clear()
            raise

    def _next(self) -> list[_Waiting[T, R]]:
        taken = [self._waiting.popleft()]
        weight = self._weight(taken[0].item)
        while self._waiting and len(taken) < self._most:
            weight += self._weight(self._waiting[0].item)
            if weight > self._heaviest:
                break
            taken.append(self._waiting.popleft())
        return taken

    async def _answer(self, batch: Sequence[_Waiting[T, R]]) -> None:
        try:
            results = await self._run([waiting.item for waiting in batch])
            answers = list(zip(batch, results, strict=True))
        except Exception as err:  # noqa: BLE001  # handed to whoever waits
            if len(batch) == 1:
                batch[0].fail(err)
            else:
                log.warning("batch.split", items=len(batch), error=repr(err))
                await self._one_by_one(batch)
            return
        for waiting, result in answers:
            if isinstance(result, Blocked):
                self._later(waiting)
            elif not waiting.future.done():
                waiting.future.set_result(result)

    async def _one_by_one(self, batch: Sequence[_Waiting[T, R]]) -> None:
        lost: Exception | None = None
        for waiting in batch:
            if waiting.future.done():
                continue
            if lost is not None:
                waiting.fail(lost)
                continue
            failed = await asyncio.create_task(self._run_alone(waiting), context=waiting.context)
            if isinstance(failed, self._unreachable):
                lost = failed

    def _later(self, waiting: _Waiting[T, R]) -> None:
        task = asyncio.create_task(self._run_alone(waiting), context=waiting.context)
        self._alone.add(task)
        task.add_done_callback(self._alone.discard)

    async def _run_alone(self, waiting: _Waiting[T, R]) -> Exception | None:
        """The error that the item met, which its caller has been told."""
        try:
            [result] = await self._run([waiting.item])
            if isinstance(result, Blocked):
                message = "a lone item was answered as held up"
                raise TypeError(message)  # noqa: TRY301  # a mistake of whoever wrote ``run``, told to the caller
        except Exception as err:  # noqa: BLE001  # handed to whoever waits
            waiting.fail(err)
            return err
        except asyncio.CancelledError:
            waiting.future.cancel()
            raise
        if not waiting.future.done():
            waiting.future.set_result(result)
        return None
