"""An application served inside the caller's loop."""

from __future__ import annotations

import asyncio
import os
import socket
from typing import TYPE_CHECKING

import structlog
from starlette.applications import Starlette

from aperag_common.health import routes
from aperag_common.http.adapter import Pace, Server
from aperag_common.http.descriptors import use_all_descriptors

if TYPE_CHECKING:
    from pathlib import Path

    from starlette.types import ASGIApp

    from aperag_common.health import Health
    from aperag_common.metrics import Metrics
    from aperag_common.settings import HttpSettings

log = structlog.get_logger(__name__)

BACKLOG = 512


class HttpServer:
    """An application served inside the caller's loop; the port file appears once it accepts connections."""

    def __init__(self, http: HttpSettings, app: ASGIApp, *, sockets: bool = False) -> None:
        """``sockets``: the application has WebSockets."""
        self.port = 0
        self._http = http
        self._server = Server(app, _pace(http), sockets=sockets)
        self._serving: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises OSError when the address cannot be bound."""
        bound = _bind(self._http)
        self.port = bound.getsockname()[1]
        self._serving = asyncio.create_task(self._server.serve(sockets=[bound]), name="http-server")
        up = asyncio.create_task(self._server.up.wait())
        await asyncio.wait({up, self._serving}, return_when=asyncio.FIRST_COMPLETED)
        up.cancel()
        if self._serving.done():
            bound.close()
            await self._serving
        if self._http.port_file is not None:
            _write_port(self._http.port_file, self.port)
        log.info("http.listening", host=self._http.host, port=self.port)

    async def stop(self) -> None:
        if self._serving is None:
            return
        self._server.end()
        await self._serving
        if self._http.port_file is not None:
            self._http.port_file.unlink(missing_ok=True)


class HealthServer(HttpServer):
    """What a service without an API of its own listens with."""

    def __init__(self, http: HttpSettings, health: Health, metrics: Metrics) -> None:
        super().__init__(http, Starlette(routes=routes(health, metrics)))


def _pace(http: HttpSettings) -> Pace:
    return Pace(
        head=http.head_timeout,
        head_size=http.max_head_size,
        body=http.body_timeout,
        body_rate=http.body_rate,
        send=http.send_timeout,
        connections=http.max_connections or use_all_descriptors(),
    )


def _bind(http: HttpSettings) -> socket.socket:
    family = socket.AF_INET6 if ":" in http.host else socket.AF_INET
    bound = socket.create_server((http.host, http.port), family=family, backlog=BACKLOG)
    # asyncio turns Nagle's algorithm off only for sockets that name their protocol, which this one does not:
    # head and body of an answer leave in two writes, and the second would wait 40 ms for the first one's ack.
    bound.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    return bound


def _write_port(target: Path, port: int) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    # Readers poll for the file: it must never be seen half written.
    partial = target.with_name(f".{target.name}.{os.getpid()}")
    partial.write_text(f"{port}\n", encoding="ascii")
    partial.replace(target)
