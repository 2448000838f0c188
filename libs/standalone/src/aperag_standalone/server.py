"""A server of this machine that is started, stopped, killed and restarted in place, on the same port and data."""

from __future__ import annotations

import subprocess
import time
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar, Self

from aperag_standalone import ports, process
from aperag_standalone.errors import StartFailed

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

READY_TIMEOUT = 30.0
POLL = 0.01
LOG_TAIL = 2_000


class LocalServer(ABC):
    """Blocking; a supervisor uses ``prepare`` and ``ready`` and runs the command itself."""

    name: ClassVar[str]

    def __init__(self, directory: Path, *, port: int = 0) -> None:
        self.directory = directory
        self.port = port or ports.free_port()
        self.log_path = directory / f"{self.name}.log"
        self._child: subprocess.Popen[bytes] | None = None
        self._command: process.Command | None = None

    @abstractmethod
    def prepare(self) -> process.Command:
        """Write what the server reads, end a stray of an earlier run, and say what to run."""

    @abstractmethod
    def ready(self) -> bool:
        """Whether it takes work now; never blocks for long."""

    @property
    def listens_on(self) -> int:
        return self.port

    @property
    def pid(self) -> int:
        if self._child is None:
            message = f"{self.name} was never started"
            raise StartFailed(message)
        return self._child.pid

    @property
    def running(self) -> bool:
        return self._child is not None and self._child.poll() is None

    def start(self, *, timeout: float = READY_TIMEOUT) -> None:
        """Return once it takes work."""
        if self.running:
            return
        self._command = self.prepare()
        with self.log_path.open("ab") as log:
            self._child = process.spawn(self._command, log=log)
        deadline = time.monotonic() + timeout
        while not self.ready():
            try:
                code = self._child.wait(POLL)
            except subprocess.TimeoutExpired:
                if time.monotonic() < deadline:
                    continue
                self.kill()
                code = None
            raise self._failed(code)

    def stop(self) -> None:
        if self._child is not None and self._command is not None:
            process.end(self._child, self._command)

    def kill(self) -> None:
        """As ``kill -9``: nothing is flushed, nothing said goodbye."""
        if self._child is not None:
            self._child.kill()
            self._child.wait()

    def restart(self) -> None:
        self.stop()
        self.start()

    def log_tail(self) -> str:
        try:
            return self.log_path.read_bytes()[-LOG_TAIL:].decode(errors="replace").strip()
        except FileNotFoundError:
            return ""

    def _failed(self, code: int | None) -> StartFailed:
        how = "did not become ready" if code is None else f"ended with code {code}"
        message = f"{self.name} {how} while starting"
        return StartFailed(message, hint=f"its log, {self.log_path}, ends with:\n{self.log_tail()}")

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()
