"""``python -m aperag_mcp``: the service over HTTP; with ``--stdio`` one client's server on its own pipes."""

from __future__ import annotations

import argparse
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_common import logs
from aperag_common.gateway import taker_of_spans
from aperag_common.health import Health
from aperag_common.http.server import HttpServer
from aperag_common.metrics import Metrics
from aperag_common.process import instance_of, run_process, until_stopped
from aperag_common.telemetry import Telemetry
from aperag_mcp.app import make_app, make_server
from aperag_mcp.gateway.client import connect
from aperag_mcp.settings import Settings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastmcp import FastMCP

SERVICE = "mcp"


@dataclass(frozen=True, slots=True)
class Parts:
    """What both transports are made of."""

    server: FastMCP
    telemetry: Telemetry
    health: Health
    metrics: Metrics


@asynccontextmanager
async def assembled(settings: Settings) -> AsyncIterator[Parts]:
    logs.configure(settings.telemetry.log_level, json=settings.telemetry.log_json, service=SERVICE)
    taker = taker_of_spans(settings.api_url, settings.traces_token)
    telemetry = Telemetry.start(settings, service=SERVICE, instance=instance_of(settings), gateway=taker)
    metrics, health = Metrics(SERVICE), Health()
    async with connect(settings) as gateway:
        health.add("gateway", gateway.check)
        try:
            yield Parts(make_server(gateway, settings, telemetry, metrics), telemetry, health, metrics)
        finally:
            await telemetry.stop()


async def serve(settings: Settings) -> None:
    async with assembled(settings) as parts:
        app = make_app(parts.server, settings, parts.telemetry, parts.health, parts.metrics)
        server = HttpServer(settings.http, app)
        await server.start()
        await until_stopped()
        await server.stop()


async def converse(settings: Settings) -> None:
    """Until the client closes the pipe; nothing but the protocol goes to standard output."""
    async with assembled(settings) as parts:
        await parts.server.run_stdio_async(show_banner=False)


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m aperag_mcp", description=__doc__)
    parser.add_argument("--stdio", action="store_true", help="speak on standard input and output")
    arguments = parser.parse_args()
    run_process((converse if arguments.stdio else serve)(Settings()))


if __name__ == "__main__":
    main()
