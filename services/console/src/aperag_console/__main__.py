"""``python -m aperag_console``: the console over HTTP."""

from __future__ import annotations

from aperag_common import logs
from aperag_common.gateway import taker_of_spans
from aperag_common.health import Health
from aperag_common.http.server import HttpServer
from aperag_common.metrics import Metrics
from aperag_common.process import instance_of, run_process, until_stopped
from aperag_common.telemetry import Telemetry
from aperag_console.app import make_app
from aperag_console.gateway.client import connect
from aperag_console.settings import Settings

SERVICE = "console"


async def serve(settings: Settings) -> None:
    logs.configure(settings.telemetry.log_level, json=settings.telemetry.log_json, service=SERVICE)
    taker = taker_of_spans(settings.api_url, settings.traces_token)
    telemetry = Telemetry.start(settings, service=SERVICE, instance=instance_of(settings), gateway=taker)
    metrics, health = Metrics(SERVICE), Health()
    try:
        async with connect(settings) as gateway:
            health.add("gateway", gateway.check)
            server = HttpServer(settings.http, make_app(gateway, settings, telemetry, health, metrics))
            await server.start()
            await until_stopped()
            await server.stop()
    finally:
        await telemetry.stop()


def main() -> None:
    run_process(serve(Settings()))


if __name__ == "__main__":
    main()
