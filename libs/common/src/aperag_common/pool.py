"""Processes for work that keeps a core busy: started on demand, resting when idle, gone with their parent."""

from __future__ import annotations

import asyncio
import contextlib
import math
import multiprocessing
import os
import resource
import signal
import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from functools import partial
from multiprocessing import connection
from typing import TYPE_CHECKING, Any, TypeVar, TypeVarTuple

import structlog

from aperag_common import errors
from aperag_common.confinement import confine
from aperag_common.shares import Shares

if TYPE_CHECKING:
    from multiprocessing.process import BaseProcess

log = structlog.get_logger(__name__)

T = TypeVar("T")
Ts = TypeVarTuple("Ts")
Setup = tuple[Callable[..., object] | None, tuple[Any, ...]]

ORPHANED = 70
"""Exit code of a child whose parent ended before it."""


GUEST_SECONDS = 10.0
"""Enough for an ordinary document or question; what takes longer waits for a process like everybody else."""


class ComputedTooLong(TimeoutError):
    """A call used up its computing time, and its process has ended."""


class _Overstayed(Exception):
    pass


class ProcessPool:
    """At most ``workers`` calls run at once, each in a process that holds no other call.

    Owners share the processes (``Shares``). With ``guests`` there is one process more, for an owner who has none while
    all others are busy; there a call may take ``guest_seconds``, then it is stopped and begins anew where others wait.

    A process that dies takes one call with it. That call is run once more in quarantine, where one call
    runs at a time; dying there too convicts it. So nobody is blamed for a neighbour's crash, nor for being
    the one the kernel chose when memory ran out.
    """

    def __init__(
        self,
        workers: int,
        *,
        guests: bool = False,
        initializer: Callable[..., object] | None = None,
        initargs: tuple[Any, ...] = (),
        idle_seconds: float = 300.0,
        abandoned_seconds: float = 5.0,
        guest_seconds: float = GUEST_SECONDS,
    ) -> None:
        """A call whose caller was cancelled may go on for ``abandoned_seconds``, then its process is killed."""
        self.workers = workers
        self._abandoned_seconds, self._guest_seconds = abandoned_seconds, guest_seconds
        self._slots = [_Slot((initializer, initargs), idle_seconds) for _ in range(workers + 2)]
        guest, quarantine, *ordinary = self._slots
        self._shares = Shares(ordinary, guests=guest if guests else None)
        self._quarantine = Shares([quarantine])
        self._calls: set[asyncio.Task[Any]] = set()
        self._closed = False

    async def run(
        self,
        fn: Callable[[*Ts], T],
        *args: *Ts,
        seconds: float | None = None,
        cpu_seconds: int | None = None,
        owner: str = "",
    ) -> T:
        """Call ``fn`` in a process; it, its arguments and its answer must be picklable.

        ``seconds`` bound the call itself, not the wait for a process; past them it is a ``TimeoutError``. ``cpu_seconds``
        bound what its process computes for it, in all threads; past them it is ``ComputedTooLong``.
        """
        work: Callable[[], T] = partial(fn, *args)
        if cpu_seconds is not None:
            work = partial(_within, cpu_seconds, work)
        try:
            return await self._in_a_share(owner, work, seconds)
        except BrokenProcessPool:
            log.warning("pool.process_died", call=fn.__qualname__)
        slot = await self._quarantine.take(owner)
        try:
            async with asyncio.timeout(seconds):
                return await self._call(slot, work, partial(self._quarantine.give_back, owner, slot))
        except BrokenProcessPool as err:
            log.warning("pool.call_convicted", call=fn.__qualname__)
            raise errors.Retryable("the process that did this work died, twice", code="WORKER_CRASHED") from err

    async def close(self) -> None:
        """End every process; a call that still runs ends with its process."""
        self._closed = True
        await asyncio.gather(*(slot.stop() for slot in self._slots))
        await asyncio.gather(*self._calls, return_exceptions=True)

    async def _in_a_share(self, owner: str, work: Callable[[], T], seconds: float | None) -> T:
        slot = await self._shares.take(owner)
        if self._shares.is_guests(slot):
            with contextlib.suppress(_Overstayed):
                return await self._as_guest(owner, slot, work, seconds)
            slot = await self._shares.take(owner, as_guest=False)
        async with asyncio.timeout(seconds):
            return await self._call(slot, work, partial(self._shares.give_back, owner, slot))

    async def _as_guest(self, owner: str, slot: _Slot, work: Callable[[], T], seconds: float | None) -> T:
        leave = partial(self._shares.give_back, owner, slot)
        try:
            self._check_open()
            await asyncio.wrap_future(slot.submit(os.getpid))  # the start of the process is not the call's
        except BaseException:  # a cancelled call too gives its place back
            leave()
            raise
        within = self._guest_seconds if seconds is None else min(self._guest_seconds, seconds)
        try:
            async with asyncio.timeout(within) as limit:
                return await self._call(slot, work, leave, abandoned_seconds=0.0)
        except TimeoutError as err:
            if limit.expired() and within != seconds:
                raise _Overstayed from err
            raise

    async def _call(
        self,
        slot: _Slot,
        work: Callable[[], T],
        release: Callable[[], None],
        *,
        abandoned_seconds: float | None = None,
    ) -> T:
        """``release`` is called when the process is free again, which may be after the caller has gone."""
        call = asyncio.ensure_future(self._occupy(slot, work, release))
        self._calls.add(call)
        call.add_done_callback(self._forget)
        try:
            return await asyncio.shield(call)
        except asyncio.CancelledError:
            patience = self._abandoned_seconds if abandoned_seconds is None else abandoned_seconds
            killing = asyncio.get_running_loop().call_later(patience, slot.kill)
            call.add_done_callback(lambda _: killing.cancel())
            raise

    async def _occupy(self, slot: _Slot, work: Callable[[], T], release: Callable[[], None]) -> T:
        try:
            self._check_open()
            return await asyncio.wrap_future(slot.submit(work))
        except BrokenProcessPool as err:
            if await slot.computed_too_long():
                raise ComputedTooLong from err
            raise
        finally:
            slot.rest_later()
            release()

    def _check_open(self) -> None:
        if self._closed:
            raise errors.Busy("the process pool is closed")

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

    async def computed_too_long(self) -> bool:
        """Whether the process that has just died ended by its limit of computing time."""
        executor, child = self._executor, self._child
        if executor is None or child is None:
            return False
        self._executor = self._child = None
        await asyncio.to_thread(executor.shutdown)  # waits until somebody has seen how it ended
        return child.exitcode == -signal.SIGXCPU

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


def _within(cpu_seconds: int, work: Callable[[], T]) -> T:
    """The kernel ends the process where ``work`` computes longer: code that holds the interpreter sees no signal."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    most = math.ceil(time.process_time()) + cpu_seconds
    resource.setrlimit(resource.RLIMIT_CPU, (most if hard == resource.RLIM_INFINITY else min(most, hard), hard))
    try:
        return work()
    finally:
        resource.setrlimit(resource.RLIMIT_CPU, (soft, hard))


def compute_longer(seconds: int) -> None:
    """Called in a process by work that turns out to be larger: its limit moves, where it has one."""
    soft, hard = resource.getrlimit(resource.RLIMIT_CPU)
    if soft != resource.RLIM_INFINITY:
        more = soft + seconds
        resource.setrlimit(resource.RLIMIT_CPU, (more if hard == resource.RLIM_INFINITY else min(more, hard), hard))
