"""The services' NATS identities for the form with containers: a seed for each service, their users for the server.

Run once before the server starts; safe to repeat. Below the directory given it fills:

    all/                  every seed, kept for the next run; mounted nowhere else
    <service>/seed.nk     the service's own seed
    server/users.conf     public keys and permissions, derived from the topology
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from aperag_standalone import files, nats

READABLE = 0o644
UNUSED_PORT = 1


def write(directory: Path) -> None:
    seeds = nats.make_keys(directory / "all")
    for service, seed in seeds.items():
        files.write_private(directory / service / "seed.nk", seed.read_text(encoding="ascii"))
    # Ports and paths are nats.conf's own here; only who may do what is the same as on one machine.
    server = nats.NatsServer(directory, port=UNUSED_PORT, monitor_port=UNUSED_PORT, users=nats.users_of(seeds))
    users = directory / "server" / "users.conf"
    # JSON is a subset of the server's own format, and quotes what looks like a variable ($JS.API…).
    files.write_private(users, json.dumps({"authorization": server.config()["authorization"]}, indent=2))
    users.chmod(READABLE)


if __name__ == "__main__":
    write(Path(sys.argv[1]))
