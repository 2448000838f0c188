"""The services as processes: which module, with what environment, on which port."""

from __future__ import annotations

import secrets
import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_standalone import ports, process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aperag_standalone.home import Home

GRACE = 25.0
INCARNATION_BYTES = 4
SLOW_STARTS = ("PYTHONDONTWRITEBYTECODE",)
OWN = (
    "APERAG_API_KEY",
    "APERAG_SECRET_KEY",
    "APERAG_PROVIDER_KEYS",
    "APERAG_TRACES_TOKEN",
    "APERAG_POSTGRES__URL",
    "APERAG_POSTGRES__PASSWORD",
    "APERAG_NATS__SEED",
)
"""Credentials. The API key is the command line's: the MCP service would act with it for everybody who sends none."""
GATEWAYS = (
    "APERAG_OAUTH__",
    "APERAG_WEB__",
    "APERAG_JWT_SECRET",
    "JWT_SECRET",
    *(f"{prefix}{provider}_OAUTH_" for prefix in ("", "APERAG_") for provider in ("GOOGLE", "GITHUB")),
)
"""Of the caller's settings those that may hold secrets, and that nobody reads but the gateway."""


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """One replica of a service; ``port`` 0 lets it choose and tell through its port file.

    ``env`` is its environment but for what is the same for all: name, address, port. With ``holds_secret`` it is given
    the installation's secret, as that is at each of its starts; with ``provider_keys`` that of providers' keys; with
    ``passes_spans`` the token under which spans go from clients of the gateway to it.
    """

    name: str
    module: str
    home: Home
    env: Mapping[str, str]
    port: int = 0
    holds_secret: bool = False
    provider_keys: bool = False
    passes_spans: bool = False

    @property
    def port_file(self) -> Path:
        return self.home.port_file(self.name)

    @property
    def listens_on(self) -> int | None:
        try:
            return int(self.port_file.read_text(encoding="ascii"))
        except (OSError, ValueError):
            return None

    def prepare(self) -> process.Command:
        self.port_file.unlink(missing_ok=True)
        argv = (sys.executable, "-m", self.module)
        return process.Command(argv=argv, env=self.environment() | self._succeed(), grace=GRACE)

    def ready(self) -> bool:
        port = self.listens_on
        return port is not None and ports.answers(port, "/readyz")

    def _succeed(self) -> dict[str, str]:
        """Which start of the process this is, and which one it follows: the dead one's leases are free at once."""
        known = self.home.incarnation_file(self.name)
        predecessor = known.read_text(encoding="ascii") if known.exists() else ""
        incarnation = secrets.token_hex(INCARNATION_BYTES)
        known.write_text(incarnation, encoding="ascii")
        return {"APERAG_INCARNATION": incarnation, "APERAG_PREDECESSOR": predecessor}

    def environment(self) -> dict[str, str]:
        secret = self.home.installation_secret() if self.holds_secret else {}
        provider_keys = self.home.provider_secret() if self.provider_keys else {}
        traces_token = self.home.traces_secret() if self.passes_spans else {}
        return {**self.env, **secret, **provider_keys, **traces_token} | {
            "APERAG_HTTP__HOST": ports.LOOPBACK,
            "APERAG_HTTP__PORT": str(self.port),
            "APERAG_HTTP__PORT_FILE": str(self.port_file),
            "APERAG_INSTANCE": self.name,
        }


def shared_environment(env: Mapping[str, str], home: Home, *, nats_url: str) -> dict[str, str]:
    """The caller's environment, so that its own settings reach the services, and what this stack decides."""
    return inherited(env) | {
        "APERAG_NATS__URL": nats_url,
        "APERAG_OBJECTS__DIRECTORY": str(home.objects),
        # One thread per process: the pools already use every core. Read when numpy is imported, so set it here.
        "OPENBLAS_NUM_THREADS": "1",
    }


def client_environment(env: Mapping[str, str], *, api_url: str) -> dict[str, str]:
    """Of a client of the gateway: no database, no bus, no key but its callers' own."""
    return inherited(env) | {"APERAG_API_URL": api_url}


def inherited(env: Mapping[str, str]) -> dict[str, str]:
    """Without what is one process' own: whoever needs it is given it by name."""
    own = (*OWN, *GATEWAYS)
    return {name: value for name, value in env.items() if name not in SLOW_STARTS and not name.startswith(own)}


def gateways(env: Mapping[str, str]) -> dict[str, str]:
    """What of the caller's environment is the gateway's alone."""
    return {name: value for name, value in env.items() if name.startswith(GATEWAYS)}
