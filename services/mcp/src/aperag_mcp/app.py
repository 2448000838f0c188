"""Composition root of the MCP service: the only place that names concrete classes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import fastmcp
from fastmcp import FastMCP
from opentelemetry import trace
from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from opentelemetry.instrumentation.httpx import HTTPXClientInstrumentor
from opentelemetry.util.http import parse_excluded_urls
from starlette.applications import Starlette
from starlette.routing import Mount, Route

from aperag_common.health import routes
from aperag_common.version import VERSION
from aperag_mcp import resources
from aperag_mcp.calls.arguments import ExplainingArguments
from aperag_mcp.calls.measures import CallMetrics
from aperag_mcp.calls.observing import Observing
from aperag_mcp.collections import tools as collections
from aperag_mcp.documents import tools as documents
from aperag_mcp.guide import parts as guide
from aperag_mcp.searches import tools as searches
from aperag_mcp.web import tools as web

if TYPE_CHECKING:
    from opentelemetry.trace import TracerProvider
    from starlette.types import ASGIApp

    from aperag_common.health import Health
    from aperag_common.metrics import Metrics
    from aperag_common.telemetry import Telemetry
    from aperag_mcp.gateway.client import Gateway
    from aperag_mcp.settings import Settings

NAME = "ApeRAG"
PATH = "/mcp/"
TOOLS = (collections, searches, web, documents, resources)
UNTRACED = "/livez$,/readyz$,/metrics$"

# Its spans go to OpenTelemetry's global provider, which this process does not set: it would only hide ours.
fastmcp.settings.telemetry_mode = "off"


def make_server(gateway: Gateway, settings: Settings, telemetry: Telemetry, metrics: Metrics) -> FastMCP:
    """The tools, resources and prompts, for any transport."""
    provider = _provider(settings, telemetry)
    if traced(settings):
        HTTPXClientInstrumentor.instrument_client(gateway.http, tracer_provider=provider)
    server = FastMCP(
        NAME,
        instructions=guide.INSTRUCTIONS,
        version=VERSION,
        mask_error_details=True,
        on_duplicate="error",
        dereference_schemas=False,  # schemas reach clients as they are, each definition once
    )
    server.add_middleware(Observing(provider.get_tracer("aperag.mcp"), CallMetrics(metrics.registry)))
    server.add_middleware(ExplainingArguments())
    for concept in TOOLS:
        concept.register(server, gateway, characters=settings.mcp_result_characters)
    guide.register(server)
    # Else the SDK lists all tools before each call, to see whether one asks for HTTP headers as arguments. None here does.
    server._mcp_server.get_tool_input_schema = lambda _: None  # noqa: SLF001  fastmcp has no way of its own to it
    return server


def make_app(server: FastMCP, settings: Settings, telemetry: Telemetry, health: Health, metrics: Metrics) -> ASGIApp:
    """Streamable HTTP without sessions, so that any replica answers any request of any client."""
    guarded = server.http_app(
        path=PATH,
        stateless_http=True,
        # Off by default there. Probes and scrapes below are outside of it: they name this service as they like.
        host_origin_protection=True,
        allowed_hosts=settings.hosts,
        allowed_origins=settings.origins,
    )
    # Clients that were told the path without its slash would else be redirected, and some lose their key on the way.
    endpoint = next(route for route in guarded.router.routes if isinstance(route, Route) and route.path == PATH)
    guarded.router.routes.append(Route(PATH.rstrip("/"), endpoint.endpoint, methods=sorted(endpoint.methods or ())))
    app: ASGIApp = Starlette(routes=[*routes(health, metrics), Mount("/", guarded)], lifespan=guarded.lifespan)
    if not traced(settings):
        return app
    return OpenTelemetryMiddleware(
        app,
        excluded_urls=parse_excluded_urls(UNTRACED),
        tracer_provider=telemetry.provider,
        exclude_spans=["receive", "send"],
    )


def traced(settings: Settings) -> bool:
    return settings.otel_enabled and settings.otel_mcp_enabled


def _provider(settings: Settings, telemetry: Telemetry) -> TracerProvider:
    return telemetry.provider if traced(settings) else trace.NoOpTracerProvider()
