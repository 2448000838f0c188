"""The one-machine stack under test: the real command line and real processes, on a data directory of their own."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any

import psutil

from aperag_common.db.session import make_engine
from aperag_common.settings import PostgresSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping

    from sqlalchemy.ext.asyncio import AsyncEngine

PATIENCE = 150.0

WIDE_QUOTAS = {
    "MAX_COLLECTION_COUNT": "10000",
    "MAX_DOCUMENT_COUNT": "10000000",
    "MAX_DOCUMENT_COUNT_PER_COLLECTION": "10000000",
}
"""Tests and benchmarks bring more than a newcomer may; a test of quotas sets its own."""

QUICK = {"APERAG_MODELS__LOCAL": "fast"}
"""Documents are embedded in a quarter of the time."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Every port is a free one, so any number of stacks run side by side.

    ``env`` is the caller's whole environment; its settings reach the services, over ``WIDE_QUOTAS``.
    """

    home: Path
    env: Mapping[str, str]

    def aperag(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        kept = {name: value for name, value in self.env.items() if name != "PYTHONDONTWRITEBYTECODE"}
        return subprocess.run(
            [str(Path(sys.executable).with_name("aperag")), *arguments],
            env=WIDE_QUOTAS | kept | {"APERAG_HOME": str(self.home)},
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        anywhere = ("--port", "0", "--mcp-port", "0", "--console-port", "0", "--nats-port", "0")
        return self.aperag("up", "--detach", *anywhere, *options)

    def down(self) -> list[str]:
        """Stop in order; what is left of the stack then, which is ended too."""
        self.aperag("down")
        left = self.processes()
        named = [f"{process.pid} {' '.join(process.cmdline())}" for process in left]
        for process in left:
            process.kill()
        return named

    @property
    def admin_password(self) -> str:
        return (self.home / "secrets" / "admin_password").read_text(encoding="ascii").strip()

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "run" / "stack.json").read_text(encoding="utf-8")))

    def unit(self, name: str) -> dict[str, Any]:
        return next(dict(unit) for unit in self.state()["units"] if unit["name"] == name)

    def kill(self, name: str) -> int:
        """As ``kill -9``; the pid that the process had."""
        pid = int(self.unit(name)["pid"])
        psutil.Process(pid).send_signal(Signals.SIGKILL)
        return pid

    def stop(self, name: str) -> None:
        """As an orderly end of one process, which the supervisor then starts again."""
        psutil.Process(int(self.unit(name)["pid"])).send_signal(Signals.SIGTERM)

    def wipe_jetstream(self) -> None:
        """The NATS server is killed and comes back without any stream."""
        store = self.home / "nats" / "jetstream"
        doomed = store.with_name("wiped")
        self.kill("nats")
        store.rename(doomed)  # at once, while the supervisor still holds the restart back
        shutil.rmtree(doomed)

    @property
    def url(self) -> str:
        return str(self.state()["api_url"])

    def url_of(self, name: str) -> str:
        """Of one process, as it listens now."""
        port = (self.home / "run" / f"{name}.port").read_text(encoding="ascii").strip()
        return f"http://127.0.0.1:{port}"

    @property
    def api_key(self) -> str:
        return (self.home / "secrets" / "api_key").read_text(encoding="ascii").strip()

    @property
    def objects(self) -> Path:
        return self.home / "objects"

    @property
    def postgres_url(self) -> str:
        password = (self.home / "postgres" / "aperag.password").read_text(encoding="ascii").strip()
        return f"postgresql+asyncpg://aperag:{password}@127.0.0.1:{self.state()['postgres_port']}/aperag"

    def log(self, name: str) -> str:
        """What this process wrote, for the message of a test that fails."""
        return (self.home / "log" / f"{name}.log").read_text(encoding="utf-8", errors="replace")

    def processes(self) -> list[psutil.Process]:
        """Every living process that belongs to this data directory, whoever its parent is by now."""
        return [process for process in psutil.process_iter() if self._owns(process)]

    def _owns(self, process: psutil.Process) -> bool:
        home = str(self.home)
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            marks = (process.environ().get("APERAG_HOME") == home, home in process.cwd())
            return any(marks) or any(home in argument for argument in process.cmdline())
        except (psutil.Error, OSError):
            return False


@contextmanager
def running(home: Path, *options: str, settings: Mapping[str, str] | None = None) -> Iterator[Stack]:
    """A started stack; ``settings`` go over the caller's environment.

    It is stopped in order. Raises ``AssertionError`` where it does not start, or leaves a process behind.
    """
    stack = Stack(home, {**QUICK, **os.environ, **(settings or {})})  # noqa: TID251  the caller's own settings
    try:
        started = stack.up(*options)
        if started.returncode != 0:
            raise AssertionError(started.stdout + started.stderr)
        yield stack
    finally:
        left = stack.down()
    if left:
        raise AssertionError(left)


@asynccontextmanager
async def rows_of(stack: Stack) -> AsyncIterator[AsyncEngine]:
    """The stack's own database, to look at from outside."""
    engine = make_engine(PostgresSettings(url=stack.postgres_url), name="tests")
    try:
        yield engine
    finally:
        await engine.dispose()
