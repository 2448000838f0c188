"""One nats-server for many tests: each gets an account, where the streams and subjects of others do not exist."""

from __future__ import annotations

from itertools import cycle
from typing import TYPE_CHECKING, Any

from aperag_standalone import ports
from aperag_standalone.nats import NatsServer

if TYPE_CHECKING:
    from pathlib import Path

ACCOUNTS = tuple(f"test{number}" for number in range(16))
"""More than one, so that what an earlier test left running has ended long before its account is used again."""


class SharedNatsServer(NatsServer):
    """Whoever takes an account deletes its streams before giving it back."""

    def __init__(self, directory: Path) -> None:
        super().__init__(directory, durable=False)
        self._accounts = cycle(ACCOUNTS)

    def take(self) -> str:
        """The URL of an account without streams."""
        account = next(self._accounts)
        return f"nats://{account}:{account}@{ports.LOOPBACK}:{self.port}"

    def config(self) -> dict[str, Any]:
        accounts = {name: {"users": [{"user": name, "password": name}], "jetstream": "enabled"} for name in ACCOUNTS}
        return super().config() | {"accounts": accounts}
