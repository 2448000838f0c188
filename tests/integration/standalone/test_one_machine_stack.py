"""The stack of one machine as a person meets it: started, killed in part and whole, started again, stopped."""

from __future__ import annotations

import json
import os
import select
import subprocess
import sys
import time
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import pytest

from aperag_cli.exits import Exit
from aperag_standalone import ports

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PATIENCE = 60.0
pytestmark = pytest.mark.timeout(240)


@dataclass(frozen=True)
class Machine:
    """The command line on a data directory of its own."""

    home: Path
    port: int

    def aperag(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-c", "from aperag_cli.app import main; main()", *arguments]
        return subprocess.run(
            command, env=self.environment(), capture_output=True, text=True, timeout=2 * PATIENCE, check=False
        )

    def environment(self) -> dict[str, str]:
        ours = os.environ  # noqa: TID251  the command line is a root of its own
        kept = {name: value for name, value in ours.items() if not name.startswith("APERAG_")}
        return kept | {"APERAG_HOME": str(self.home), "PYTHONDONTWRITEBYTECODE": "1"}

    def up(self, *options: str) -> subprocess.CompletedProcess[str]:
        return self.aperag("up", "--detach", "--port", str(self.port), *options)

    def state(self) -> dict[str, Any]:
        return dict(json.loads((self.home / "run" / "stack.json").read_text(encoding="utf-8")))

    def unit(self, name: str) -> dict[str, Any]:
        return next(unit for unit in self.state()["units"] if unit["name"] == name)

    def processes(self) -> list[psutil.Process]:
        supervisor = psutil.Process(self.state()["pid"])
        return [supervisor, *supervisor.children(recursive=True)]

    def until(self, holds: Callable[[], bool]) -> None:
        deadline = time.monotonic() + PATIENCE
        while not holds():
            assert time.monotonic() < deadline, self.state()
            select.select((), (), (), 0.05)


@pytest.fixture(scope="module")
def machine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Machine]:
    made = Machine(tmp_path_factory.mktemp("machine") / "home", ports.free_port())
    try:
        started = made.up("--indexers", "2", "--reconcilers", "2")
        assert started.returncode == Exit.OK, started.stdout + started.stderr
        # Nobody at a terminal reads this: it may be a log.
        for name in ("api_key", "admin_password"):
            secret = made.home / "secrets" / name
            assert str(secret) in started.stdout
            assert secret.read_text(encoding="ascii").strip() not in started.stdout
        yield made
    finally:
        made.aperag("down")


def gone(processes: list[psutil.Process]) -> bool:
    # An orphan stays a zombie until init gets to it.
    def lives(process: psutil.Process) -> bool:
        try:
            return bool(process.is_running() and process.status() != psutil.STATUS_ZOMBIE)
        except psutil.NoSuchProcess:
            return False

    return not any(lives(process) for process in processes)


def test_the_first_start_leaves_a_private_key_that_works(machine: Machine) -> None:
    key_file = machine.home / "secrets" / "api_key"
    assert key_file.stat().st_mode & 0o777 == 0o600
    key = key_file.read_text(encoding="ascii").strip()
    url = f"http://{ports.LOOPBACK}:{machine.port}/api/v1/collections"
    request = urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"})
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status == 200


def test_replicas_run_side_by_side(machine: Machine) -> None:
    names = {unit["name"] for unit in machine.state()["units"]}
    replicas = {"agent", "api", "indexer", "indexer-2", "reconciler", "reconciler-2"}
    assert names == replicas | {"nats", "postgres", "mcp", "console"}


def test_services_write_bytecode_whatever_the_caller_says(machine: Machine) -> None:
    assert "PYTHONDONTWRITEBYTECODE" not in psutil.Process(machine.unit("api")["pid"]).environ()


def test_a_second_start_is_refused_with_what_to_do(machine: Machine) -> None:
    refused = machine.up()
    assert refused.returncode == Exit.WRONG_STATE
    assert "aperag down" in refused.stderr


def test_status_is_for_programs_too(machine: Machine) -> None:
    answer = machine.aperag("status", "-o", "json")
    assert answer.returncode == Exit.OK
    told = json.loads(answer.stdout)
    assert told["api_url"].endswith(f":{machine.port}")
    assert told["console_url"].endswith(f":{machine.unit('console')['port']}")
    assert told["console_url"] in machine.aperag("status").stdout


@pytest.mark.parametrize("name", ["nats", "postgres", "indexer", "api", "console"])
def test_a_killed_process_comes_back_on_its_port_and_is_counted(machine: Machine, name: str) -> None:
    before = machine.unit(name)
    psutil.Process(before["pid"]).kill()
    machine.until(lambda: machine.unit(name)["restarts"] > before["restarts"])
    machine.until(lambda: all(unit["status"] == "ready" for unit in machine.state()["units"]))
    after = machine.unit(name)
    assert after["pid"] != before["pid"]
    if name != "indexer":
        assert after["port"] == before["port"]


def test_killing_the_supervisor_leaves_no_stray_and_the_next_start_works(machine: Machine) -> None:
    processes = machine.processes()
    assert len(processes) > len(machine.state()["units"])
    processes[0].kill()
    machine.until(lambda: gone(processes))
    assert machine.aperag("status").returncode == Exit.WRONG_STATE
    again = machine.up()
    assert again.returncode == Exit.OK, again.stdout + again.stderr
    assert "API key" not in again.stdout


def test_down_stops_everything_in_order(machine: Machine) -> None:
    processes = machine.processes()
    assert machine.aperag("down").returncode == Exit.OK
    assert gone(processes)
    assert machine.state()["status"] == "stopped"
    assert machine.aperag("down").returncode == Exit.WRONG_STATE
