"""Worker processes that a benchmark starts, halts, kills and looks at."""

from __future__ import annotations

from contextlib import contextmanager
from signal import Signals
from typing import TYPE_CHECKING

from aperag_standalone import process
from bench.measure.processes import tree_cpu_seconds

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator, Sequence
    from pathlib import Path

LOG_TAIL = 2_000


class Processes:
    """Each process leads a group of its own, in which its children live and end."""

    def __init__(self, name: str, commands: Sequence[process.Command], folder: Path) -> None:
        self.name = name
        self.size = len(commands)
        self._commands = list(commands)
        self._log_path = folder / f"{name}.log"
        self._running: list[subprocess.Popen[bytes]] = []

    def start(self) -> None:
        """Returns at once."""
        with self._log_path.open("ab") as log:
            self._running = [process.spawn(command, log=log) for command in self._commands]

    def stop(self) -> None:
        self._signal(Signals.SIGCONT)
        for child, command in zip(self._running, self._commands, strict=False):
            process.end(child, command)
        self._running = []

    def kill_one(self) -> None:
        """The first process and its children, as ``kill -9``; another takes its place at once, as from a supervisor."""
        child, command = self._running[0], self._commands[0]
        process.signal_group(child.pid, Signals.SIGKILL)
        child.wait()
        with self._log_path.open("ab") as log:
            self._running[0] = process.spawn(command, log=log)

    @contextmanager
    def halted(self) -> Iterator[None]:
        """They stand still, wherever they are; so that work can be laid down before anybody takes it."""
        self._signal(Signals.SIGSTOP)
        try:
            yield
        finally:
            self._signal(Signals.SIGCONT)

    def cpu_seconds(self) -> float:
        """Spent so far by all processes and their children."""
        return sum(tree_cpu_seconds(child.pid) for child in self._running)

    def log_tail(self) -> str:
        return self._log_path.read_bytes()[-LOG_TAIL:].decode(errors="replace").strip()

    def _signal(self, number: Signals) -> None:
        for child in self._running:
            process.signal_group(child.pid, number)


@contextmanager
def running(groups: Sequence[Processes]) -> Iterator[None]:
    """Whatever runs at the end is stopped."""
    try:
        for processes in groups:
            processes.start()
        yield
    finally:
        for processes in groups:
            processes.stop()
