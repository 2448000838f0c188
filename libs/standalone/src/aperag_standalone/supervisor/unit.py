"""One process that is kept alive: started, waited for, restarted when it dies, stopped when told."""

from __future__ import annotations

import asyncio
import contextlib
import os
from dataclasses import dataclass
from datetime import UTC, datetime
from signal import Signals
from typing import TYPE_CHECKING, Protocol

import structlog

from aperag_standalone import process
from aperag_standalone.errors import StandaloneError, StartFailed
from aperag_standalone.supervisor.state import UnitState, UnitStatus

if TYPE_CHECKING:
    from collections.abc import Callable

    from aperag_standalone.supervisor.rotation import RotatingLog

log = structlog.get_logger(__name__)

PROBE_PERIOD = 0.05
LAST_WORDS = 5.0
FIRST_DEATHS = 5
"""A process that dies this often before it was ever ready is not going to be."""


class Runnable(Protocol):
    """What a unit runs. Both methods may block: they are called outside the event loop."""

    @property
    def name(self) -> str: ...

    @property
    def listens_on(self) -> int | None:
        """The port it serves, once known."""

    def prepare(self) -> process.Command: ...

    def ready(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Backoff:
    """Seconds between a death and the next start; a life of ``forgiven_after`` clears the record."""

    first: float = 0.2
    cap: float = 5.0
    forgiven_after: float = 10.0

    def delay(self, deaths: int) -> float:
        return min(self.first * 2.0 ** (min(deaths, 30) - 1), self.cap)


async def _spawn(command: process.Command, output: int) -> asyncio.subprocess.Process:
    # Not in a thread: the bond between parent and child is to the thread that forks.
    return await asyncio.create_subprocess_exec(
        *command.argv,
        env=dict(command.env),
        cwd=command.directory,
        stdin=asyncio.subprocess.DEVNULL,
        stdout=output,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=process.dies_with_parent(command.death_signal),
    )


class Unit:
    """Runs until ``stop``; ``state`` is always current and each change is told to ``changed``."""

    def __init__(
        self, runs: Runnable, log_file: RotatingLog, *, changed: Callable[[], None], backoff: Backoff | None = None
    ) -> None:
        self.runs = runs
        self.state = UnitState(name=runs.name)
        self._log_file = log_file
        self._changed = changed
        self._backoff = backoff or Backoff()
        self._stopping = asyncio.Event()
        self._first_ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._life: asyncio.Task[None] | None = None

    async def start(self, *, within: float) -> None:
        """Return when it was ready for the first time, at the latest after ``within`` seconds."""
        self._life = asyncio.create_task(self._live(), name=f"unit {self.state.name}")
        try:
            await asyncio.wait_for(asyncio.shield(self._first_ready), within)
        except TimeoutError as err:
            raise self._failed(f"was not ready after {within:.0f} s") from err

    async def stop(self) -> None:
        self._stopping.set()
        if self._life is not None:
            await self._life
        self._first_ready.cancel()
        self._become(UnitStatus.STOPPED, pid=None)

    async def _live(self) -> None:
        deaths = 0
        loop = asyncio.get_running_loop()
        while not self._stopping.is_set():
            born = loop.time()
            try:
                await self._one_life()
            except (StandaloneError, OSError) as err:
                if not self._first_ready.done():
                    self._first_ready.set_exception(err)
                    return
                log.exception("unit.not_started", unit=self.state.name)
            if self._stopping.is_set():
                return
            deaths = 1 if loop.time() - born > self._backoff.forgiven_after else deaths + 1
            if deaths >= FIRST_DEATHS and not self._first_ready.done():
                self._first_ready.set_exception(self._failed(f"ended {deaths} times before it was ready"))
                return
            self._become(UnitStatus.RESTARTING, pid=None, restarts=self.state.restarts + 1)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), self._backoff.delay(deaths))

    async def _one_life(self) -> None:
        command = await asyncio.to_thread(self.runs.prepare)
        # A pipe of our own: asyncio reports the end of a child only when nobody holds its pipe any more, and what
        # the child started may outlive it.
        output, child_output = os.pipe()
        copying = asyncio.create_task(self._log_file.copy(output))
        try:
            child = await _spawn(command, child_output)
        finally:
            os.close(child_output)
        self._become(UnitStatus.STARTING, pid=child.pid)
        watching = asyncio.create_task(self._watch_readiness(child))
        try:
            await self._await_end(child, command)
        finally:
            watching.cancel()
            # Whatever the dead process started (a pool, a shell) goes with it.
            process.signal_group(child.pid, Signals.SIGKILL)
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(copying, LAST_WORDS)
        log.info("unit.ended", unit=self.state.name, pid=child.pid, code=child.returncode)

    async def _await_end(self, child: asyncio.subprocess.Process, command: process.Command) -> None:
        ended = asyncio.create_task(child.wait())
        stopping = asyncio.create_task(self._stopping.wait())
        await asyncio.wait({ended, stopping}, return_when=asyncio.FIRST_COMPLETED)
        stopping.cancel()
        if not ended.done():
            with contextlib.suppress(ProcessLookupError):
                child.send_signal(command.stop_signal)
            try:
                await asyncio.wait_for(asyncio.shield(ended), command.grace)
            except TimeoutError:
                log.warning("unit.killed", unit=self.state.name, pid=child.pid, grace=command.grace)
                child.kill()
        await ended

    async def _watch_readiness(self, child: asyncio.subprocess.Process) -> None:
        while not await asyncio.to_thread(self.runs.ready):  # noqa: ASYNC110  it cannot tell us by itself
            await asyncio.sleep(PROBE_PERIOD)
        self._become(UnitStatus.READY, pid=child.pid, port=self.runs.listens_on)
        if not self._first_ready.done():
            self._first_ready.set_result(None)

    def _become(self, status: UnitStatus, **changes: int | None) -> None:
        self.state = self.state.model_copy(update={"status": status, "since": datetime.now(UTC), **changes})
        log.info("unit.changed", unit=self.state.name, status=status, pid=self.state.pid)
        self._changed()

    def _failed(self, how: str) -> StartFailed:
        message = f"{self.state.name} {how}"
        return StartFailed(message, hint=f"its log, {self._log_file.path}, ends with:\n{self._log_file.tail()}")
