"""Whoever starts a stack: a supervisor is launched, followed until everything is ready, asked to stop."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import psutil

from aperag_standalone import process
from aperag_standalone.errors import NotRunning, StartFailed
from aperag_standalone.home import Home
from aperag_standalone.supervisor import lock, state
from aperag_standalone.supervisor.state import StackStatus, UnitStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from aperag_standalone.supervisor.options import StackOptions
    from aperag_standalone.supervisor.state import StackState

POLL = 0.05
STOP_TIMEOUT = 60.0


def running(home: Home) -> StackState | None:
    """The state of the stack that runs on ``home`` now."""
    holder = lock.holder(home)
    found = state.read(home.state)
    return found if found is not None and holder is not None and found.pid == holder.pid else None


def launch(options: StackOptions, *, dies_with_us: bool) -> subprocess.Popen[bytes]:
    """A supervisor in a session of its own; Ctrl-C reaches only us, who then ask it to stop."""
    home = Home(options.home)
    home.prepare()
    if lock.holder(home) is not None:
        raise lock.taken(home)
    with home.log("supervisor").open("ab") as log:
        return subprocess.Popen(
            [sys.executable, "-m", lock.MODULE, options.model_dump_json()],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            start_new_session=True,
            preexec_fn=process.dies_with_parent(signal.SIGTERM) if dies_with_us else None,  # noqa: PLW1509  no threads
        )


def follow(child: subprocess.Popen[bytes], home: Home) -> Iterator[StackState]:
    """Each state the supervisor writes, until it ends."""
    last: StackState | None = None
    while True:
        try:
            child.wait(POLL)
        except subprocess.TimeoutExpired:
            ended = False
        else:
            ended = True
        current = state.read(home.state)
        if current is not None and current.pid == child.pid and current != last:
            last = current
            yield current
        if ended:
            return


def await_ready(child: subprocess.Popen[bytes], home: Home, *, ready: Callable[[str], None]) -> StackState:
    """Call ``ready`` with the name of each process that is; raise with the reason where the start fails."""
    told: set[str] = set()
    last: StackState | None = None
    for current in follow(child, home):
        last = current
        for unit in current.units:
            if unit.status is UnitStatus.READY and unit.name not in told:
                told.add(unit.name)
                ready(unit.name)
        if current.status is StackStatus.READY:
            return current
    reason = last.error if last is not None else None
    message = "the stack did not start"
    raise StartFailed(message, hint=reason or f"see {home.log('supervisor')}")


def stop(home: Home) -> None:
    """Ask the supervisor to stop, and wait until it has."""
    supervisor = lock.holder(home)
    if supervisor is None:
        message = f"no stack runs on {home.directory}"
        raise NotRunning(message, hint="start one with `aperag up`")
    supervisor.terminate()
    try:
        supervisor.wait(STOP_TIMEOUT)
    except psutil.TimeoutExpired as err:
        message = f"supervisor {supervisor.pid} did not stop within {STOP_TIMEOUT:.0f} s"
        raise StartFailed(message, hint=f"see {home.log('supervisor')}") from err
