"""``aperag service``: the unit that it writes, and what it asks of systemd; a script stands for systemctl."""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from typer.testing import CliRunner

from aperag_cli.app import app
from aperag_cli.exits import Exit
from aperag_cli.stack.service.unit import NAME, unit

if TYPE_CHECKING:
    from collections.abc import Sequence

ODD = '/srv/a b/100%/c"d\\e$f'
"""A folder whose name holds all that a unit file reads as something else."""
SHOWN = "ActiveState={state}\nSubState=running\nUnitFileState=enabled\nMainPID=7\nEnvironment={environment}\n"


class Machine:
    """A user with a home, and on the path nothing but what a test puts there."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.tools = directory / "bin"
        self.tools.mkdir()
        self.unit = directory / "config" / "systemd" / "user" / NAME

    def systemd(self, *, reached: bool = True, state: str = "active", refuses: str = "none") -> None:
        shown = self.directory / "shown"
        shown.write_text(
            SHOWN.format(state=state, environment=f'"APERAG_HOME={self.directory}/data"'), encoding="utf-8"
        )
        self._script(
            "systemctl",
            f'echo "$@" >>{self.directory}/calls',
            f'[ "$2" = show ] && exec /bin/cat {shown}',
            '[ "$2" = show-environment ] && { ' + ("exit 0" if reached else "echo No medium found >&2; exit 1") + "; }",
            f'[ "$2" != {refuses} ] || {{ echo access denied >&2; exit 1; }}',
        )

    def _script(self, name: str, *lines: str) -> None:
        made = self.tools / name
        made.write_text("\n".join(("#!/bin/sh", *lines)) + "\n", encoding="utf-8")
        made.chmod(0o755)

    @property
    def calls(self) -> list[str]:
        return (self.directory / "calls").read_text(encoding="utf-8").splitlines()

    def aperag(self, *arguments: str) -> Any:
        env = {
            "PATH": str(self.tools),
            "XDG_CONFIG_HOME": str(self.directory / "config"),
            "APERAG_HOME": str(self.directory / "data"),
            "NO_COLOR": "1",
            "COLUMNS": "200",
        }
        return CliRunner().invoke(app, ["service", *arguments], env=env)


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def assigned(text: str, key: str) -> str:
    return next(line.partition("=")[2] for line in text.splitlines() if line.startswith(f"{key}="))


def test_the_unit_runs_this_installation_on_these_data(machine: Machine) -> None:
    printed = machine.aperag("install", "--print", "--", "--port", "8080", "--indexers", "2")
    assert printed.exit_code == Exit.OK, printed.output
    command = shlex.split(assigned(printed.stdout, "ExecStart"))
    assert command == [sys.executable, "-P", "-m", "aperag_cli", "up", "--port", "8080", "--indexers", "2"]
    assert assigned(printed.stdout, "Environment") == f"APERAG_HOME={machine.directory}/data"
    assert assigned(printed.stdout, "RestartPreventExitStatus") == "2 3"
    assert not machine.unit.exists()


def test_the_command_of_the_unit_is_this_command_line() -> None:
    command = [*shlex.split(assigned(unit(sys.executable, Path("/x"), []), "ExecStart")), "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert "--indexers" in done.stdout


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed")
@pytest.mark.parametrize("home", ["/var/lib/aperag", ODD], ids=["plain", "odd"])
def test_systemd_reads_the_unit_as_it_is_meant(tmp_path: Path, home: str) -> None:
    file = tmp_path / NAME
    file.write_text(unit(sys.executable, Path(home), ["--port", "8080"]), encoding="utf-8")
    env = {**os.environ, "XDG_RUNTIME_DIR": str(tmp_path)}  # noqa: TID251  of the program that is called
    done = subprocess.run(
        ["systemd-analyze", "--user", "verify", str(file)],
        env=env,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")


def test_signs_with_a_meaning_in_a_unit_file_are_escaped() -> None:
    text = unit("/opt/$x/python", Path(ODD), [])
    assert assigned(text, "Environment") == '"APERAG_HOME=/srv/a b/100%%/c\\"d\\\\e$f"'
    assert assigned(text, "WorkingDirectory") == '-/srv/a b/100%%/c"d\\e$f'
    assert assigned(text, "ExecStart").startswith("/opt/$$x/python ")


def test_install_writes_the_unit_starts_it_and_can_be_repeated(machine: Machine) -> None:
    machine.systemd()
    for options in ([], ["--", "--port", "8080"]):
        done = machine.aperag("install", *options)
        assert done.exit_code == Exit.OK, done.output
        assert "enable-linger" in done.stdout
    assert "--port 8080" in machine.unit.read_text(encoding="utf-8")
    once = ["--user show-environment", "--user daemon-reload", f"--user enable {NAME}", f"--user restart {NAME}"]
    assert machine.calls == [*once, *once]


def test_uninstall_stops_it_and_keeps_the_data(machine: Machine) -> None:
    machine.systemd()
    machine.aperag("install")
    (machine.directory / "data").mkdir()
    done = machine.aperag("uninstall")
    assert done.exit_code == Exit.OK, done.output
    assert machine.calls[-2:] == [f"--user disable --now {NAME}", "--user daemon-reload"]
    assert not machine.unit.exists()
    assert (machine.directory / "data").exists()
    again = machine.aperag("uninstall")
    assert again.exit_code == Exit.WRONG_STATE
    assert "aperag service install" in again.stderr


@pytest.mark.parametrize(("state", "code"), [("active", Exit.OK), ("failed", Exit.FAILED)])
def test_status_says_what_systemd_and_the_stack_say(machine: Machine, state: str, code: Exit) -> None:
    machine.systemd(state=state)
    machine.aperag("install")
    told = machine.aperag("status", "-o", "json")
    assert told.exit_code == code
    found = json.loads(told.stdout)
    assert (found["active"], found["starts"], found["pid"]) == (f"{state} (running)", "enabled", 7)
    assert (found["data"], found["stack"]) == (f"{machine.directory}/data", "not running")
    assert ("journalctl" in told.stderr) is (state != "active")


def fail(machine: Machine, *arguments: str) -> str:
    ended = machine.aperag(*arguments)
    assert ended.exit_code == Exit.FAILED
    assert not machine.unit.exists()
    return str(ended.stderr)


@pytest.mark.parametrize("command", ["install", "uninstall", "status"])
def test_where_there_is_no_systemd_the_way_out_is_told(machine: Machine, command: str) -> None:
    said = fail(machine, command)
    assert "no systemd" in said
    assert "aperag up --detach" in said


def test_a_user_without_a_manager_is_told_how_to_get_one(machine: Machine) -> None:
    machine.systemd(reached=False)
    said = fail(machine, "install")
    assert "No medium found" in said
    assert "enable-linger" in said


def test_a_unit_that_systemd_would_not_accept_is_not_written(machine: Machine) -> None:
    machine.systemd()
    machine._script("systemd-analyze", f'echo "{NAME}:7: Unknown key" >&2', "exit 1")
    assert "Unknown key" in fail(machine, "install")


def test_what_systemd_refuses_is_told_in_its_words(machine: Machine) -> None:
    machine.systemd(refuses="restart")
    ended = machine.aperag("install")
    assert ended.exit_code == Exit.FAILED
    assert "access denied" in ended.stderr
    assert "journalctl" in ended.stderr


@pytest.mark.parametrize(
    ("options", "said"), [(("--prt", "1"), "--port"), (("--detach",), "--detach"), (("--port", "x"), "--port")]
)
def test_options_that_up_would_refuse_are_refused(machine: Machine, options: Sequence[str], said: str) -> None:
    machine.systemd()
    ended = machine.aperag("install", "--", *options)
    assert ended.exit_code == Exit.USAGE
    assert said in ended.stderr
    assert not machine.unit.exists()
