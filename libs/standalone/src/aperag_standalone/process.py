"""One child process of the stack: how it is started, ended, and bound to the life of its parent."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import subprocess
import sys
import time
from dataclasses import dataclass, field
from signal import Signals
from typing import IO, TYPE_CHECKING

import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping
    from pathlib import Path

PR_SET_PDEATHSIG = 1
POLL = 0.01


@dataclass(frozen=True, slots=True)
class Command:
    """What to run; ``stop_signal`` ends it in order, ``death_signal`` reaches it when its parent is killed."""

    argv: tuple[str, ...]
    env: Mapping[str, str] = field(default_factory=dict)
    directory: Path | None = None
    stop_signal: Signals = Signals.SIGTERM
    death_signal: Signals = Signals.SIGKILL
    grace: float = 10.0


def dies_with_parent(death_signal: Signals) -> Callable[[], None] | None:
    """A hook for the child, between fork and exec; only Linux can do it.

    The kernel watches the *thread* that forks: start children from a thread that lives as long as they should.
    """
    if sys.platform != "linux":
        return None
    libc = ctypes.CDLL(None)
    parent = os.getpid()

    def bind() -> None:
        libc.prctl(PR_SET_PDEATHSIG, death_signal)
        if os.getppid() != parent:  # it died before the bond was made
            os.kill(os.getpid(), death_signal)

    return bind


def spawn(command: Command, *, log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start ``command`` in a session of its own, so that Ctrl-C reaches only the parent."""
    return subprocess.Popen(
        command.argv,
        env=dict(command.env),
        cwd=command.directory,
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        start_new_session=True,
        preexec_fn=dies_with_parent(command.death_signal),  # noqa: PLW1509  the parent forks from its only busy thread
    )


def signal_group(pid: int, number: Signals) -> None:
    """Signal what is left of the process group that ``pid`` leads or led."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def end(process: subprocess.Popen[bytes], command: Command) -> None:
    """Stop in order; after ``grace`` seconds kill. Nothing of its group is left."""
    if process.poll() is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(process.pid, command.stop_signal)
        try:
            process.wait(command.grace)
        except subprocess.TimeoutExpired:
            process.kill()
    signal_group(process.pid, signal.SIGKILL)
    process.wait()


def end_stray(process: psutil.Process, *, stop_signal: Signals, grace: float = 10.0) -> None:
    """End a process that an earlier, killed parent left behind."""
    with contextlib.suppress(psutil.NoSuchProcess):
        process.send_signal(stop_signal)
    await_end([process], timeout=grace)


def await_end(processes: Iterable[psutil.Process], *, timeout: float) -> None:
    """Wait for processes that are not our children, then kill what is left of them."""
    left = [it for it in processes if _lives(it)]
    deadline = time.monotonic() + timeout
    while left and time.monotonic() < deadline:
        with contextlib.suppress(psutil.TimeoutExpired):
            left[0].wait(POLL)
        left = [it for it in left if _lives(it)]
    for process in left:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.kill()


def _lives(process: psutil.Process) -> bool:
    # An orphan stays a zombie until init gets to it, which in a container can take seconds; it holds nothing.
    try:
        return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def find(pid_file: Path, belongs: Callable[[psutil.Process], bool]) -> psutil.Process | None:
    """The living process that ``pid_file`` names; a pid that went to another program since does not count."""
    try:
        process = psutil.Process(int(pid_file.read_text(encoding="ascii").split()[0]))
        return process if belongs(process) else None
    except (OSError, ValueError, IndexError, psutil.Error):
        return None
