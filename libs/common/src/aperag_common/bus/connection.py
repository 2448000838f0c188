"""One connection to NATS per process, with this service's identity and no way to give up."""

from __future__ import annotations

import asyncio
import contextlib
import ssl
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog
from nats.aio.client import Client

from aperag_common.bus import tls
from aperag_common.bus.permissions import inbox_prefix
from aperag_common.tasks import end_tasks

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

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
    if (context := tls.context_of(settings)) is not None:
        # Otherwise the client would speak in clear to a server that offers no TLS, or to whoever says so in its place.
        options |= {"tls": context, "tls_handshake_first": True}
    return options


async def connect(settings: NatsSettings, *, service: str, instance: str, metrics: Metrics | None = None) -> Bus:
    """Connect, waiting as long as it takes; a refused publish or subscribe is logged and counted.

    Raises ``TlsRefused`` where no waiting can help.
    """
    reconnected: list[Callable[[], Awaitable[None]]] = []
    hopeless: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def on_disconnect() -> None:
        log.warning("nats.disconnected")

    async def on_reconnect() -> None:
        log.info("nats.reconnected")
        for callback in reconnected:
            await callback()

    nc = Client()
    connecting = nc.connect(
        **connect_options(settings, service=service, instance=instance),
        error_cb=_error_callback(settings, metrics, hopeless),
        disconnected_cb=on_disconnect,
        reconnected_cb=on_reconnect,
    )
    await _first_of(asyncio.create_task(connecting), hopeless, nc)
    return Bus(nc, nc.jetstream(timeout=PUBLISH_TIMEOUT), reconnected)


def _error_callback(
    settings: NatsSettings, metrics: Metrics | None, hopeless: asyncio.Future[None]
) -> Callable[[Exception], Awaitable[None]]:
    """``hopeless`` fails at the first certificate that is not accepted; while connected that is only told."""

    async def on_error(err: Exception) -> None:
        if isinstance(err, ssl.SSLError):
            refused = tls.TlsRefused(tls.explained(err, settings))
            log.error("nats.tls_refused", error=str(refused))
            if not hopeless.done():
                hopeless.set_exception(refused)
        elif "permissions violation" in str(err).lower():
            log.error("nats.permission_violation", error=str(err))
            if metrics is not None:
                metrics.permission_violations.inc()
        else:
            log.warning("nats.error", error=repr(err))

    return on_error


async def _first_of(connecting: asyncio.Task[None], hopeless: asyncio.Future[None], nc: Client) -> None:
    """Whatever keeps it from being connected, nothing of the attempt is left."""
    made = False
    try:
        await asyncio.wait([connecting, hopeless], return_when=asyncio.FIRST_COMPLETED)
        await (connecting if connecting.done() else hopeless)
        made = True
    finally:
        # Once connected it comes back by itself, whatever the certificates are then.
        hopeless.cancel()
        if not made:
            await end_tasks(connecting)
            await nc.close()
