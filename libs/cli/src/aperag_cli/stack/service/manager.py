"""The user's service manager, asked through systemctl."""

from __future__ import annotations

import shlex
import shutil
import subprocess
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_cli.errors import CliError
from aperag_cli.stack.service.unit import NAME

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

SECONDS = 120.0
PROPERTIES = ("ActiveState", "SubState", "UnitFileState", "MainPID", "Environment")
OTHERWISE = "start the stack with `aperag up --detach`, or give `aperag service install --print` to the systemd of another machine"


class NoManager(CliError):
    """Nothing here runs services for this user."""


class ManagerFailed(CliError):
    """systemd did not do what it was asked."""


@dataclass(frozen=True, slots=True)
class Manager:
    """``directory`` is where the user's own units lie."""

    systemctl: str
    directory: Path

    @property
    def file(self) -> Path:
        return self.directory / NAME

    def install(self, text: str) -> None:
        """Checked, written, and started now and with every session."""
        self._check(text)
        self.directory.mkdir(parents=True, exist_ok=True)
        self.file.write_text(text, encoding="utf-8")
        self._run("daemon-reload")
        self._run("enable", NAME)
        self._run("restart", NAME)

    def uninstall(self) -> None:
        self._run("disable", "--now", NAME)
        self.file.unlink()
        self._run("daemon-reload")

    def state(self) -> dict[str, str]:
        """What systemd knows of it, by the names of its properties."""
        shown = self._run("show", NAME, *(f"--property={name}" for name in PROPERTIES))
        return dict(line.split("=", maxsplit=1) for line in shown.splitlines() if "=" in line)

    @staticmethod
    def home(state: Mapping[str, str]) -> Path | None:
        """The data directory that the unit was installed with."""
        assigned = dict(it.partition("=")[::2] for it in shlex.split(state.get("Environment", "")))
        return Path(assigned["APERAG_HOME"]) if "APERAG_HOME" in assigned else None

    def _check(self, text: str) -> None:
        """Where systemd-analyze is there; a unit that systemd would take half of is not written."""
        analyze = shutil.which("systemd-analyze")
        if analyze is None:
            return
        with tempfile.TemporaryDirectory() as scratch:
            unit = Path(scratch) / NAME
            unit.write_text(text, encoding="utf-8")
            done = _called([analyze, "--user", "verify", str(unit)])
        if done.returncode != 0 or NAME in done.stderr:
            message = "systemd would not accept the unit, nothing was installed"
            raise ManagerFailed(message, hint=done.stderr.strip())

    def _run(self, *arguments: str) -> str:
        done = _called([self.systemctl, "--user", *arguments])
        if done.returncode != 0:
            message = f"`systemctl --user {' '.join(arguments)}` ended with code {done.returncode}"
            raise ManagerFailed(message, hint=f"{done.stderr.strip()}\n  see `journalctl --user -u {NAME}`")
        return done.stdout


def connect(config: Path) -> Manager:
    """Raises ``NoManager`` with what to do where this user has none."""
    systemctl = shutil.which("systemctl")
    if systemctl is None:
        message = "this machine has no systemd: systemctl is not installed"
        raise NoManager(message, hint=OTHERWISE)
    answer = _called([systemctl, "--user", "show-environment"])
    if answer.returncode != 0:
        message = f"systemd runs no services for this user: {answer.stderr.strip()}"
        hint = f"log in as this user itself, not through su or sudo, or run `loginctl enable-linger` first; else {OTHERWISE}"
        raise NoManager(message, hint=hint)
    return Manager(systemctl, config / "systemd" / "user")


def _called(command: Sequence[str]) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(command, capture_output=True, text=True, timeout=SECONDS, check=False)
    except subprocess.TimeoutExpired as err:
        message = f"`{' '.join(command)}` did not end within {SECONDS:.0f} s"
        raise ManagerFailed(message, hint="see `systemctl --user status`") from err
