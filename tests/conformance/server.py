"""``python -m tests.conformance.server``: our MCP service as it is, with the fixtures that the suite calls added."""

from __future__ import annotations

import asyncio

from tests.conformance import fixtures

from aperag_common.http.server import HttpServer
from aperag_common.process import until_stopped
from aperag_mcp.__main__ import assembled
from aperag_mcp.app import make_app
from aperag_mcp.settings import Settings


async def serve(settings: Settings) -> None:
    async with assembled(settings) as parts:
        fixtures.register(parts.server)
        app = make_app(parts.server, settings, parts.telemetry, parts.health, parts.metrics)
        server = HttpServer(settings.http, app)
        await server.start()
        await until_stopped()
        await server.stop()


if __name__ == "__main__":
    asyncio.run(serve(Settings()))
