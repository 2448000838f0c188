"""Processes for work that keeps a core busy: started on demand, resting when idle, gone with their parent."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import signal
import threading
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import structlog

from aperag_common import errors
from aperag_common.confinement import confine

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

log = structlog.get_logger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Setup = tuple[Callable[..., object] | None, tuple[Any, ...]]

ORPHANED = 70
"""Exit code of a child whose parent ended before it."""


class ProcessPool:
    """At most ``workers`` calls run at once, each in a process that holds no other call.

    A process that dies takes one call with it. That call is run once more in quarantine, where one call
    runs at a time; dying there too convicts it. So nobody is blamed for a neighbour's crash, nor for being
    the one the kernel chose when memory ran out.
    """

    def __init__(
        self,
        workers: int,
        *,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        idle_seconds: float = 300.0,
        abandoned_seconds: float = 5.0,
    ) -> None:
        """A call whose caller was cancelled may go on for ``abandoned_seconds``, then its process is killed."""
        self.workers = workers
        self._abandoned_seconds = abandoned_seconds
        self._slots = [_Slot((initializer, initargs), idle_seconds) for _ in range(workers)]
        self._quarantine = _Slot((initializer, initargs), idle_seconds)
        # Last in, first out: under light load one process serves and the others come to rest.
        self._free: asyncio.LifoQueue[_Slot] = asyncio.LifoQueue()
        for slot in reversed(self._slots):
            self._free.put_nowait(slot)
        self._one_suspect = asyncio.Lock()
        self._calls: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def run(self, fn: Callable[[*Ts], T], *args: *Ts, seconds: float | None = None) -> T:
        """Call ``fn`` in a process; it, its arguments and its answer must be picklable.

        ``seconds`` bound the call itself, not the wait for a process; past them it is a ``TimeoutError``.
        """
        slot = await self._free.get()
        try:
            async with asyncio.timeout(seconds):
                return await self._call(slot, partial(fn, *args), lambda: self._free.put_nowait(slot))
        except BrokenProcessPool:
            log.warning("pool.process_died", call=fn.__qualname__)
        await self._one_suspect.acquire()
        try:
            async with asyncio.timeout(seconds):
                return await self._call(self._quarantine, partial(fn, *args), self._one_suspect.release)
        except BrokenProcessPool as err:
            log.warning("pool.call_convicted", call=fn.__qualname__)
            raise errors.Retryable("the process that did this work died, twice", code="WORKER_CRASHED") from err

    async def close(self) -> None:
        """End every process; a call that still runs ends with its process."""
        self._closed = True
        await asyncio.gather(*(slot.stop() for slot in (*self._slots, self._quarantine)))
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _call(self, slot: _Slot, work: Callable[[], T], release: Callable[[], None]) -> T:
        """``release`` is called when the process is free again, which may be after the caller has gone."""
        call = asyncio.ensure_future(self._occupy(slot, work, release))
        self._calls.add(call)
        call.add_done_callback(self._forget)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            killing = asyncio.get_running_loop().call_later(self._abandoned_seconds, slot.kill)
            call.add_done_callback(lambda _: killing.cancel())
            raise

    async def _occupy(self, slot: _Slot, work: Callable[[], T], release: Callable[[], None]) -> T:
        try:
            if self._closed:
                raise errors.Busy("the process pool is closed")
            return await asyncio.wrap_future(slot.submit(work))
        finally:
            slot.rest_later()
            release()

    def _forget(self, call: asyncio.Task[Any]) -> None:
        self._calls.discard(call)
        if not call.cancelled():
            call.exception()  # seen: an abandoned call has nobody else to tell


class _Slot:
    """One process, or none while it rests."""

    def __init__(self, setup: Setup, idle_seconds: float) -> None:
        self._setup = setup
        self._idle_seconds = idle_seconds
        self._executor: ProcessPoolExecutor | None = None
        self._child: BaseProcess | None = None
        self._resting: asyncio.TimerHandle | None = None

    def submit(self, work: Callable[[], T]) -> Future[T]:
        if self._resting is not None:
            self._resting.cancel()
        if self._executor is not None:
            try:
                return self._executor.submit(work)
            except BrokenProcessPool:  # it died between two calls, which is nobody's fault
                self._drop()
        return self._start(work)

    def kill(self) -> None:
        if self._child is not None:
            self._child.kill()

    def rest_later(self) -> None:
        if self._executor is not None:
            self._resting = asyncio.get_running_loop().call_later(self._idle_seconds, self._drop)

    async def stop(self) -> None:
        executor = self._executor
        self.kill()
        self._drop()
        if executor is not None:
            await asyncio.to_thread(executor.shutdown)

    def _start(self, work: Callable[[], T]) -> Future[T]:
        # Children inherit it and numpy reads it while it loads, which may be before any code of ours runs there.
        os.putenv("OPENBLAS_NUM_THREADS", "1")
        self._executor = ProcessPoolExecutor(
            max_workers=1,
            mp_context=multiprocessing.get_context("spawn"),
            initializer=_begin_child,
            initargs=self._setup,
        )
        others = set(multiprocessing.active_children())
        future = self._executor.submit(work)
        self._child = next(iter(set(multiprocessing.active_children()) - others), None)
        return future

    def _drop(self) -> None:
        if self._resting is not None:
            self._resting.cancel()
        if self._executor is not None:
            self._executor.shutdown(wait=False)
        self._executor = self._child = None


def _begin_child(initializer: Callable[..., object] | None, initargs: tuple[Any, ...]) -> None:
    """First thing in a child: what it reads may be hostile, Ctrl-C is the parent's business, and the parent's end is ours."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    confine()
    parent = multiprocessing.parent_process()
    if parent is not None:
        threading.Thread(target=_end_with, args=(parent.sentinel,), name="parent-watch", daemon=True).start()
    if initializer is not None:
        initializer(*initargs)


def _end_with(sentinel: int) -> None:
    connection.wait([sentinel])
    os._exit(ORPHANED)
