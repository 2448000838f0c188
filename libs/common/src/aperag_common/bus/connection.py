"""One connection to NATS per process, with this service's identity and no way to give up."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nats
import structlog

from aperag_common.bus.permissions import inbox_prefix

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from nats.aio.client import Client
    from nats.js import JetStreamContext

    from aperag_common.metrics import Metrics
    from aperag_common.settings import NatsSettings

log = structlog.get_logger(__name__)

PUBLISH_TIMEOUT = 5.0
"""Seconds to wait for a PubAck: the server fsyncs every message before it answers."""


@dataclass(slots=True)
class Bus:
    """A live connection; ``reconnected`` callbacks run after every reconnect."""

    nc: Client
    js: JetStreamContext
    reconnected: list[Callable[[], Awaitable[None]]] = field(default_factory=list)

    @property
    def connected(self) -> bool:
        return self.nc.is_connected

    async def close(self) -> None:
        if not self.nc.is_closed:
            # The client writes what it still holds; a server that is gone takes nothing, and that is no error here.
            with contextlib.suppress(OSError):
                await self.nc.close()


def connect_options(settings: NatsSettings, *, service: str, instance: str) -> dict[str, Any]:
    """What every client passes to nats-py; without ``seed_file`` the connection is anonymous (tests)."""
    options: dict[str, Any] = {
        "servers": [settings.url],
        "name": f"{service}:{instance}",
        "inbox_prefix": inbox_prefix(service),
        # nats-py gives up after two minutes by default, and a closed client never comes back.
        "max_reconnect_attempts": -1,
        "reconnect_time_wait": 0.25,
        "ping_interval": 10,
        "max_outstanding_pings": 3,
    }
    if settings.seed_file is not None:
        options["nkeys_seed_str"] = settings.seed_file.read_text(encoding="ascii").strip()
    return options


async def connect(settings: NatsSettings, *, service: str, instance: str, metrics: Metrics | None = None) -> Bus:
    """Connect, waiting as long as it takes; a refused publish or subscribe is logged and counted."""
    reconnected: list[Callable[[], Awaitable[None]]] = []

    async def on_error(err: Exception) -> None:
        if "permissions violation" in str(err).lower():
            log.error("nats.permission_violation", error=str(err))
            if metrics is not None:
                metrics.permission_violations.inc()
        else:
            log.warning("nats.error", error=repr(err))

    async def on_disconnect() -> None:
        log.warning("nats.disconnected")

    async def on_reconnect() -> None:
        log.info("nats.reconnected")
        for callback in reconnected:
            await callback()

    nc = await nats.connect(
        **connect_options(settings, service=service, instance=instance),
        error_cb=on_error,
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
    )
    return Bus(nc, nc.jetstream(timeout=PUBLISH_TIMEOUT), reconnected)
