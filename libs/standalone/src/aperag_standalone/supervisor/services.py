"""The services as processes: which module, with what environment, on which port."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common.bus.topology import Service
from aperag_standalone import files, ports, process

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from aperag_standalone.home import Home

MODULES = {Service.API: "aperag_api", Service.INDEXER: "aperag_indexer", Service.RECONCILER: "aperag_reconciler"}
GRACE = 25.0
SLOW_STARTS = ("PYTHONDONTWRITEBYTECODE",)


@dataclass(frozen=True, slots=True)
class Endpoints:
    """What every service must reach."""

    nats_url: str
    postgres_url: str


@dataclass(frozen=True, slots=True)
class ServiceProcess:
    """One replica of a service; ``port`` 0 lets it choose and tell through its port file."""

    name: str
    service: Service
    home: Home
    env: Mapping[str, str]
    seed_file: Path
    endpoints: Endpoints
    port: int = 0

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
        argv = (sys.executable, "-m", MODULES[self.service])
        return process.Command(argv=argv, env=self.environment(), grace=GRACE)

    def ready(self) -> bool:
        port = self.listens_on
        return port is not None and ports.answers(port, "/readyz")

    def environment(self) -> dict[str, str]:
        return shared_environment(self.env, self.home, self.endpoints) | {
            "APERAG_NATS__SEED_FILE": str(self.seed_file),
            "APERAG_HTTP__HOST": ports.LOOPBACK,
            "APERAG_HTTP__PORT": str(self.port),
            "APERAG_HTTP__PORT_FILE": str(self.port_file),
            "APERAG_INSTANCE": self.name,
        }


def shared_environment(env: Mapping[str, str], home: Home, endpoints: Endpoints) -> dict[str, str]:
    """The caller's environment, so that its own settings reach the services, and what this stack decides."""
    kept = {name: value for name, value in env.items() if name not in SLOW_STARTS}
    return kept | {
        "APERAG_NATS__URL": endpoints.nats_url,
        "APERAG_POSTGRES__URL": endpoints.postgres_url,
        "APERAG_OBJECTS__DIRECTORY": str(home.objects),
        "APERAG_SECRET_KEY": files.secret(home.secret_key),
        # One thread per process: the pools already use every core. Read when numpy is imported, so set it here.
        "OPENBLAS_NUM_THREADS": "1",
    }
