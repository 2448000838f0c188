"""The services' NATS identities for the form with containers: a seed for each service, their users for the server.

Run once before the server starts; safe to repeat. Below the directory given it fills:

    all/                  every seed and the certificate, kept for the next run; mounted nowhere else
    <service>/seed.nk     the service's own seed
    <service>/ca.pem      who signed the server's certificate
    api/outside.nk        the seed under which the gateway says who outsiders are
    server/users.conf     accounts, public keys and permissions, derived from the topology
    server/tls.conf       the server's certificate, for the name by which the services know it
"""

from __future__ import annotations

import json
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from aperag_common.services import Service
from aperag_standalone import files, nats
from aperag_standalone.certificates import Certificate

if TYPE_CHECKING:
    from collections.abc import Iterable

READABLE = 0o644
UNUSED_PORT = 1
HOSTS = ("nats", "localhost", "127.0.0.1")
MOUNTED = Path("/etc/nats/identities")
"""Where compose.yaml mounts ``server/``."""


def write(directory: Path) -> None:
    seeds = nats.make_keys(directory / "all")
    for service, seed in seeds.items():
        files.write_private(directory / service / "seed.nk", seed.read_text(encoding="ascii"))
    issuer = nats.make_issuer(directory / "all")
    files.write_private(directory / Service.API / issuer.name, issuer.read_text(encoding="ascii"))
    # Ports and paths are nats.conf's own here; only who may do what is the same as on one machine.
    server = nats.NatsServer(
        directory,
        port=UNUSED_PORT,
        monitor_port=UNUSED_PORT,
        users=nats.users_of(seeds),
        issuer=nats.public_key(issuer),
    )
    users = directory / "server" / "users.conf"
    # JSON is a subset of the server's own format, and quotes what looks like a variable ($JS.API…).
    files.write_private(users, json.dumps(server.identities(), indent=2))
    users.chmod(READABLE)
    _write_certificate(directory, list(seeds))


def _write_certificate(directory: Path, services: Iterable[str]) -> None:
    made = Certificate.of(directory / "all" / "tls", HOSTS)
    for service in services:
        files.write_private(directory / service / "ca.pem", made.authority.read_text(encoding="ascii"))
    server = directory / "server"
    block = nats.tls_block(MOUNTED / made.certificate.name, MOUNTED / made.key.name)
    texts = {path.name: path.read_text(encoding="ascii") for path in (made.certificate, made.key)}
    for name, text in (texts | {"tls.conf": json.dumps({"tls": block}, indent=2)}).items():
        files.write_private(server / name, text)
        # The server may run as any user; this volume is mounted nowhere else.
        (server / name).chmod(READABLE)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
