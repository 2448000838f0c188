"""``python -m aperag_console``: the console over HTTP."""

from __future__ import annotations

from aperag_common import logs
from aperag_common.health import Health
from aperag_common.http.server import HttpServer
from aperag_common.metrics import Metrics
from aperag_common.process import instance_of, run_process, until_stopped
from aperag_common.telemetry import Gateway as SpanGateway
from aperag_common.telemetry import Telemetry
from aperag_console.app import make_app
from aperag_console.gateway.client import connect, root_of
from aperag_console.settings import Settings

SERVICE = "console"


async def serve(settings: Settings) -> None:
    logs.configure(settings.telemetry.log_level, json=settings.telemetry.log_json, service=SERVICE)
    telemetry = Telemetry.start(
        settings, service=SERVICE, instance=instance_of(settings), gateway=_taker_of_spans(settings)
    )
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


def _taker_of_spans(settings: Settings) -> SpanGateway | None:
    token = settings.traces_token
    return SpanGateway(root_of(settings), token) if token is not None and token.get_secret_value() else None


def main() -> None:
    run_process(serve(Settings()))


if __name__ == "__main__":
    main()
