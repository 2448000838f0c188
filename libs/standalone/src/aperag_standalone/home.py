"""The data directory: where everything of one stack lives."""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_standalone import files, unprivileged
from aperag_standalone.errors import StandaloneError

if TYPE_CHECKING:
    from pathlib import Path


class NotWritable(StandaloneError):
    """The data directory cannot be used."""


@dataclass(frozen=True, slots=True)
class Home:
    """Paths below ``directory``; deleting it forgets everything."""

    directory: Path

    @property
    def nats(self) -> Path:
        return self.directory / "nats"

    @property
    def postgres(self) -> Path:
        return self.directory / "postgres"

    @property
    def objects(self) -> Path:
        return self.directory / "objects"

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets"

    @property
    def api_key(self) -> Path:
        """The administrator's API key."""
        return self.secrets / "api_key"

    @property
    def admin_password(self) -> Path:
        """The administrator's first password; without this file the next start makes another."""
        return self.secrets / "admin_password"

    @property
    def secret_key(self) -> Path:
        return self.secrets / "secret_key"

    @property
    def certificates(self) -> Path:
        """Those of NATS, where it speaks TLS."""
        return self.secrets / "nats-tls"

    @property
    def previous_secret_keys(self) -> Path:
        """Those that rotations replaced, newest first, one in each line."""
        return self.secrets / "secret_key_previous"

    @property
    def provider_keys(self) -> Path:
        """What the API keys of models' providers are encrypted under; replaced together with the secret."""
        return self.secrets / "provider_keys"

    @property
    def previous_provider_keys(self) -> Path:
        return self.secrets / "provider_keys_previous"

    @property
    def traces_token(self) -> Path:
        """What services without a way to the bus show the gateway when they bring it their spans."""
        return self.secrets / "traces_token"

    def traces_secret(self) -> dict[str, str]:
        """As the environment of the gateway and of who sends it spans; made when first asked for."""
        return {"APERAG_TRACES_TOKEN": files.secret(self.traces_token)}

    def installation_secret(self) -> dict[str, str]:
        """As the gateway's environment; made when first asked for."""
        return _secrets("APERAG_SECRET_KEY", self.secret_key, self.previous_secret_keys)

    def provider_secret(self) -> dict[str, str]:
        """As the environment of the gateway and of who calls models; made when first asked for."""
        return _secrets("APERAG_PROVIDER_KEYS", self.provider_keys, self.previous_provider_keys)

    def make_secrets(self) -> None:
        self.installation_secret()
        self.provider_secret()

    @property
    def run(self) -> Path:
        return self.directory / "run"

    @property
    def state(self) -> Path:
        return self.run / "stack.json"

    @property
    def lock(self) -> Path:
        return self.run / "lock"

    def port_file(self, name: str) -> Path:
        return self.run / f"{name}.port"

    def incarnation_file(self, name: str) -> Path:
        """Which start of this process was the last one."""
        return self.run / f"{name}.incarnation"

    def log(self, name: str) -> Path:
        return self.directory / "log" / f"{name}.log"

    def prepare(self) -> None:
        """Make the directories; closed to others unless PostgreSQL must pass through as another user."""
        mode = unprivileged.passable(unprivileged.way())
        try:
            self.directory.mkdir(mode=mode, parents=True, exist_ok=True)
            for part in (self.nats, self.objects, self.secrets, self.run, self.log("").parent):
                part.mkdir(mode=files.PRIVATE_DIRECTORY, exist_ok=True)
            self.postgres.mkdir(mode=mode, exist_ok=True)
            probe = self.run / ".writable"
            probe.write_text("", encoding="ascii")
            probe.unlink()
        except OSError as err:
            message = f"cannot write to the data directory {self.directory}: {err.strerror}"
            raise NotWritable(
                message, hint="make it writable for this user, or set APERAG_HOME to another directory"
            ) from err


def replaced(path: Path) -> list[str]:
    """The secrets that rotations replaced, newest first."""
    try:
        return path.read_text(encoding="ascii").split()
    except FileNotFoundError:
        return []


def _secrets(name: str, path: Path, previous: Path) -> dict[str, str]:
    current = files.secret(path)
    return {name: current, f"{name}_PREVIOUS": json.dumps([it for it in replaced(previous) if it != current])}
