"""A new secret for the installation on this machine: everything that depends on it goes over to it, step by step."""

from __future__ import annotations

import fcntl
import json
import secrets
import signal
import subprocess
import sys
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psutil

from aperag_common.services import Service, role
from aperag_standalone import files
from aperag_standalone.errors import NotRunning, StandaloneError
from aperag_standalone.home import replaced
from aperag_standalone.postgres import PostgresServer
from aperag_standalone.supervisor import state
from aperag_standalone.supervisor.services import gateways, inherited
from aperag_standalone.supervisor.stack import CLIENTS, DATABASE
from aperag_standalone.supervisor.state import UnitStatus

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from aperag_standalone.home import Home
    from aperag_standalone.supervisor.state import StackState, UnitState

POLL = 0.1
RESTART_TIMEOUT = 120.0
KNOW = ({str(Service.AGENT), str(Service.INDEXER), str(Service.WEBHOOKS)}, {str(Service.API), *CLIENTS})
LEFT_UNREADABLE = 3
RESUME = "the new secret is in force; once that is mended, go on with `aperag secrets rotate --resume`"


class RenewalFailed(StandaloneError):
    """A step did not succeed; what came before it holds, and may be repeated."""


@dataclass(frozen=True, slots=True)
class Renewal:
    """Each step may be repeated: a rotation that was interrupted goes on with ``resume``."""

    home: Home
    running: StackState
    env: Mapping[str, str]

    def run(self, *, resume: bool) -> dict[str, Any]:
        """What was encrypted again, by table and column."""
        with self._alone():
            if not resume:
                _replace(self.home.secret_key, self.home.previous_secret_keys)
                _replace(self.home.provider_keys, self.home.previous_provider_keys)
                # Nothing is stored under it, so the old one is worth nothing at once.
                files.write_private(self.home.traces_token, secrets.token_hex(files.SECRET_BYTES))
            for names in self._knowing():
                self._restart(names)
            return self._encrypt_again()

    def _knowing(self) -> list[list[str]]:
        """The processes that know the secrets, in the order of their restart.

        Gateways come last: the others must be able to read what a gateway writes. The services that send it spans
        restart together with it, for both need the new token.
        """
        found = state.read(self.home.state)
        names = [] if found is None else [unit.name for unit in found.units]
        return [[name for name in names if name.rstrip("-0123456789") in services] for services in KNOW]

    def _restart(self, names: list[str]) -> None:
        """At once; their supervisor starts them again, with the new secrets."""
        before = {name: self._running_pid(name) for name in names}
        for pid in before.values():
            with suppress(psutil.NoSuchProcess):  # one that died by itself comes back in the same way
                psutil.Process(pid).send_signal(signal.SIGTERM)
        deadline = time.monotonic() + RESTART_TIMEOUT
        for name, pid in before.items():
            while (now := self._unit(name)) is None or now.pid == pid or now.status is not UnitStatus.READY:
                if time.monotonic() > deadline:
                    message = f"the process {name} was not ready again within {RESTART_TIMEOUT:.0f} s"
                    raise RenewalFailed(message, hint=f"see {self.home.log(name)}; {RESUME}")
                time.sleep(POLL)

    def _running_pid(self, name: str) -> int:
        found = self._unit(name)
        if found is None or found.pid is None:
            message = f"the process {name} does not run"
            raise NotRunning(message, hint="`aperag status` says why; then go on with `aperag secrets rotate --resume`")
        return found.pid

    def _encrypt_again(self) -> dict[str, Any]:
        database = PostgresServer(self.home.postgres, port=self.running.postgres_port)
        database_url = {"APERAG_POSTGRES__URL": database.url(DATABASE, role=role(Service.API))}
        secrets_ = self.home.installation_secret() | self.home.provider_secret()
        done = subprocess.run(
            [sys.executable, "-m", "aperag_api.secrets", "rotate"],
            env=inherited(self.env) | gateways(self.env) | secrets_ | database_url,
            capture_output=True,
            text=True,
            check=False,
        )
        if done.returncode not in {0, LEFT_UNREADABLE}:
            message = f"the database's part ended with code {done.returncode}"
            raise RenewalFailed(message, hint=f"{done.stderr.strip()}\n{RESUME}")
        counts: dict[str, Any] = json.loads(done.stdout)
        return counts

    def _unit(self, name: str) -> UnitState | None:
        found = state.read(self.home.state)
        return next((unit for unit in found.units if unit.name == name), None) if found is not None else None

    @contextmanager
    def _alone(self) -> Iterator[None]:
        """The lock goes with the process, however that ends."""
        with (self.home.run / "rotation.lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as err:
                message = "another rotation is under way"
                raise RenewalFailed(message, hint="wait for its end") from err
            yield


def _replace(path: Path, previous: Path) -> None:
    """The old one is written down first: at no moment is what was made under it unreadable."""
    old = files.secret(path)
    kept = [old, *(secret for secret in replaced(previous) if secret != old)]
    files.write_private(previous, "\n".join(kept) + "\n")
    files.write_private(path, secrets.token_hex(files.SECRET_BYTES))
