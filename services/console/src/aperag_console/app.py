"""Composition root of the console: the only place that names all of its pages."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.util.http import parse_excluded_urls
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.middleware.gzip import GZipMiddleware
from starlette.routing import Route

from aperag_common.health import routes
from aperag_common.sparing import without
from aperag_console.account import endpoints as account
from aperag_console.admin import endpoints as admin
from aperag_console.bots import endpoints as bots
from aperag_console.bots import flow
from aperag_console.chats import endpoints as chats
from aperag_console.collections import endpoints as collections
from aperag_console.documents import endpoints as documents
from aperag_console.events import endpoints as events
from aperag_console.gateway.failures import GatewayFailure
from aperag_console.home import endpoints as home
from aperag_console.integrations import connect, keys, subscriptions, webhooks
from aperag_console.jobs import endpoints as queues
from aperag_console.jobs import listing as jobs
from aperag_console.live import endpoints as live
from aperag_console.searches import endpoints as searches
from aperag_console.signin import endpoints as signin
from aperag_console.traces import endpoints as traces
from aperag_console.web import assets
from aperag_console.web.protection import Protected
from aperag_console.web.refusals import on_failure, on_missing

with without("httpx2"):  # another client that would be instrumented
    from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor

if TYPE_CHECKING:
    from starlette.types import ASGIApp

    from aperag_common.health import Health
    from aperag_common.metrics import Metrics
    from aperag_common.telemetry import Telemetry
    from aperag_console.gateway.client import Gateway
    from aperag_console.settings import Settings

CONCEPTS = (
    *(signin, home, collections, documents, searches, chats, events, connect, keys, webhooks, subscriptions),
    *(queues, jobs, traces, bots, flow, admin, account, live),
)
UNTRACED = "/livez$,/readyz$,/metrics$,/static/"
WORTH_COMPRESSING = 1000


def make_app(gateway: Gateway, settings: Settings, telemetry: Telemetry, health: Health, metrics: Metrics) -> ASGIApp:
    """Without any state of its own, so that any replica answers any tab."""
    app = Starlette(
        routes=[
            *routes(health, metrics),
            Route("/static/{version}/{name}", assets.serve),
            *(route for concept in CONCEPTS for route in concept.ROUTES),
        ],
        middleware=[
            Middleware(Protected, front=settings.front),
            Middleware(GZipMiddleware, minimum_size=WORTH_COMPRESSING),
        ],
        exception_handlers={GatewayFailure: on_failure, HTTPException: on_missing},
    )
    app.state.gateway = gateway
    app.state.front, app.state.secure = settings.front, settings.console_secure_cookies
    if not traced(settings):
        return app
    HTTPXClientInstrumentor.instrument_client(gateway.http, tracer_provider=telemetry.provider)
    return OpenTelemetryMiddleware(
        app,
        excluded_urls=parse_excluded_urls(UNTRACED),
        tracer_provider=telemetry.provider,
        exclude_spans=["receive", "send"],
    )


def traced(settings: Settings) -> bool:
    return settings.otel_enabled and settings.otel_console_pages_enabled
