"""Composition root of the gateway: the only place that names concrete classes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from fastapi import APIRouter, FastAPI
from opentelemetry.instrumentation.fastapi import FastAPIInstrumentor

from aperag_api import errors
from aperag_api.apikeys import endpoints as api_keys
from aperag_api.apikeys.service import ApiKeyService
from aperag_api.auth import Authenticator
from aperag_api.collections import endpoints as collections
from aperag_api.collections.service import CollectionService
from aperag_api.contents import endpoints as contents
from aperag_api.contents.service import ContentService
from aperag_api.dead_letters import endpoints as dead_letters
from aperag_api.dead_letters.service import DeadLetterService
from aperag_api.documents import endpoints as documents
from aperag_api.documents.service import DocumentService
from aperag_api.events import endpoints as events
from aperag_api.events.fanout import Fanout
from aperag_api.events.feed import Feed
from aperag_api.events.service import EventService
from aperag_api.gateway import Gateway
from aperag_api.limits import BodyLimit
from aperag_api.mcp import endpoints as mcp
from aperag_api.mcp.proxy import McpProxy
from aperag_api.queues import endpoints as queues
from aperag_api.queues.service import QueueService
from aperag_api.searches import endpoints as searches
from aperag_api.searches.service import SearchService
from aperag_api.searches.waiting import Waiter
from aperag_api.summaries import endpoints as summaries
from aperag_api.summaries.service import SummaryService
from aperag_api.tasks import endpoints as tasks
from aperag_api.tasks.service import TaskService
from aperag_api.timelines import endpoints as timelines
from aperag_api.timelines.service import TimelineService
from aperag_api.timers import endpoints as timers
from aperag_api.timers.service import TimerService
from aperag_api.traces import endpoints as traces
from aperag_api.traces.service import TraceService
from aperag_api.uploads import endpoints as uploads
from aperag_api.uploads.intake import Limits
from aperag_api.uploads.service import UploadService
from aperag_api.web import endpoints as web
from aperag_api.web.assembly import open_web
from aperag_common.auth.keys import KeyHasher
from aperag_common.health import routes
from aperag_common.objects import LocalObjectStore
from aperag_common.telemetry.tracing import collector
from aperag_common.work.policy import WorkPolicy
from aperag_retrieval.embedding import InProcessEmbedder
from aperag_retrieval.search import Searcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_api.settings import Settings
    from aperag_common.runtime import Runtime
    from aperag_retrieval.embedding import Embedder

ROUTERS = (
    api_keys.router,
    collections.router,
    summaries.router,
    uploads.router,
    documents.router,
    contents.router,
    timelines.router,
    searches.router,
    tasks.router,
    events.router,
    traces.router,
    queues.router,
    timers.router,
    dead_letters.router,
    web.router,
)


@asynccontextmanager
async def open_gateway(
    runtime: Runtime, settings: Settings, *, embedder: Embedder | None = None
) -> AsyncIterator[Gateway]:
    embedder = embedder or InProcessEmbedder()
    gateway = _assemble(runtime, settings, embedder)
    gateway.feed.start()
    runtime.health.add("events", gateway.feed.check, critical=False)
    try:
        yield gateway
    finally:
        await gateway.feed.close()
        await gateway.mcp.close()
        await gateway.web.close()
        await embedder.close()


def make_app(gateway: Gateway, runtime: Runtime, settings: Settings) -> FastAPI:
    app = FastAPI(
        title="ApeRAG", version="0.1.0", description="Upload documents, watch them become searchable, find them."
    )
    app.state.gateway = gateway
    app.add_middleware(BodyLimit, limit=settings.max_body_size)
    errors.install(app)
    v1 = APIRouter(prefix="/api/v1")
    for router in ROUTERS:
        v1.include_router(router)
    app.include_router(v1)
    app.include_router(mcp.router)
    app.add_api_route("/health", _health, tags=["health"])
    app.router.routes.extend(routes(runtime.health, runtime.metrics))
    if settings.otel_enabled and settings.otel_fastapi_enabled:
        # A span per chunk sent would drown a stream's trace.
        FastAPIInstrumentor.instrument_app(
            app,
            tracer_provider=runtime.telemetry.provider,
            excluded_urls="/health$,/livez$,/readyz$,/metrics$",
            exclude_spans=["receive", "send"],
        )
    return app


async def _health() -> dict[str, str]:
    return {"status": "healthy", "service": "aperag-api"}


def _assemble(runtime: Runtime, settings: Settings, embedder: Embedder) -> Gateway:
    if settings.secret_key is None:
        message = "APERAG_SECRET_KEY is not set: API keys cannot be verified without it"
        raise ValueError(message)
    engine, bus, courier = runtime.engine, runtime.bus, runtime.courier
    hasher = KeyHasher.of(settings.secret_key)
    objects = LocalObjectStore(settings.objects.directory)
    fanout = Fanout(settings.event_buffer)
    feed = Feed(bus, engine, fanout)
    limits = Limits(settings.max_document_size, settings.max_documents_per_request)
    return Gateway(
        authenticator=Authenticator(engine, hasher, settings.key_touched_every),
        feed=feed,
        api_keys=ApiKeyService(engine, hasher),
        collections=CollectionService(engine, courier, settings.work.first_due),
        contents=ContentService(engine, objects),
        dead_letters=DeadLetterService(engine, courier, settings.work, settings.interactive_documents),
        documents=DocumentService(engine, courier, settings.work),
        events=EventService(engine, bus, feed, fanout, settings.event_heartbeat),
        mcp=McpProxy(settings.mcp_url),
        queues=QueueService(engine, bus),
        searches=SearchService(engine, Searcher(engine, embedder), Waiter(engine, fanout), embedder),
        summaries=SummaryService(engine, courier, settings.work.first_due),
        tasks=TaskService(engine, courier, settings.work.first_due),
        timelines=TimelineService(
            engine, bus, WorkPolicy.of(settings.work), settings.work.in_flight_per_owner, _traces(settings)
        ),
        timers=TimerService(engine, courier.publisher),
        traces=TraceService(engine, bus),
        uploads=UploadService(engine, objects, courier, limits, settings.interactive_documents, settings.work),
        web=open_web(settings.web, settings.outbound),
    )


def _traces(settings: Settings) -> str:
    """Where a person reads the traces that timelines name."""
    if not settings.otel_enabled:
        return "nowhere: tracing is off"
    if collector(settings) is not None:
        return "in the OpenTelemetry collector"
    return "/api/v1/traces/{trace_id}" if settings.telemetry.spans_to_nats else "nowhere: spans are not kept"
