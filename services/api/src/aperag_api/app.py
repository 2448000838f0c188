"""Composition root of the gateway: the only place that names concrete classes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from aperag_api import errors
from aperag_api.apikeys.service import ApiKeyService
from aperag_api.audit.middleware import Audit
from aperag_api.audit.service import AuditService
from aperag_api.audit.trail import AuditTrail
from aperag_api.auth import Authenticator
from aperag_api.chats.assembly import conversations
from aperag_api.collections.service import CollectionService
from aperag_api.contents.service import ContentService
from aperag_api.dead_letters.service import DeadLetterService
from aperag_api.events.fanout import Fanout
from aperag_api.events.feed import Feed
from aperag_api.events.service import EventService
from aperag_api.gateway import Gateway
from aperag_api.http.application import Application
from aperag_api.http.head_limits import HeadLimits
from aperag_api.http.rates import Rates
from aperag_api.idempotency.middleware import Idempotency
from aperag_api.identity import open_identity
from aperag_api.inference.service import InferenceService
from aperag_api.installation.mineru import MinerU
from aperag_api.installation.service import InstallationService
from aperag_api.limits import BodyLimit
from aperag_api.marketplace.service import MarketplaceService
from aperag_api.mcp.proxy import McpProxy
from aperag_api.models.service import ModelService
from aperag_api.prompts.service import PromptService
from aperag_api.providers.service import ProviderService
from aperag_api.queues.service import QueueService
from aperag_api.quotas.service import QuotaService
from aperag_api.routers import routes_of
from aperag_api.searches.assembly import embedding_models, search_service
from aperag_api.sharing.service import SharingService
from aperag_api.summaries.service import SummaryService
from aperag_api.tasks.service import TaskService
from aperag_api.timelines.service import TimelineService
from aperag_api.timers.service import TimerService
from aperag_api.traces.intake import SpanIntake
from aperag_api.traces.service import TraceService
from aperag_api.web.assembly import open_web
from aperag_common.auth.installation import InstallationSecret
from aperag_common.auth.keys import KeyHasher
from aperag_common.auth.vault import Vault
from aperag_common.health import routes
from aperag_common.objects import LocalObjectStore
from aperag_common.telemetry import init_fastapi_instrumentation
from aperag_common.telemetry.tracing import collector
from aperag_common.templates.rendering import Templates
from aperag_models.catalog import Models
from aperag_models.keys import vault_of
from aperag_retrieval.embedding import EmbeddersBesideLocal, InProcessEmbedder
from aperag_work.policy import WorkPolicy

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI

    from aperag_api.searches.reranking import SearchModels
    from aperag_api.settings import Settings
    from aperag_retrieval.embedding import Embedder
    from aperag_work.runtime import Runtime


@asynccontextmanager
async def open_gateway(
    runtime: Runtime, settings: Settings, *, embedder: Embedder | None = None, models: SearchModels | None = None
) -> AsyncIterator[Gateway]:
    embedder = embedder or InProcessEmbedder()
    callable_models = _models(runtime, settings)
    gateway = _assemble(runtime, settings, embedder, models or callable_models, callable_models)
    await gateway.quotas.keep_initial(settings.initial_quotas)
    gateway.feed.start()
    runtime.health.add("events", gateway.feed.check, critical=False)
    try:
        yield gateway
    finally:
        await gateway.feed.close()
        await gateway.turns.relays.close()
        await gateway.identity.close()
        await gateway.mcp.close()
        await gateway.prompts.templates.close()
        await gateway.web.close()
        await embedder.close()
        await callable_models.close()


def make_app(gateway: Gateway, runtime: Runtime, settings: Settings) -> FastAPI:
    proxies = gateway.identity.proxies
    app = Application(
        proxies=proxies,
        cors=settings.cors,
        title="ApeRAG",
        version="0.1.0",
        description="Upload documents, watch them become searchable, find them.",
    )
    app.state.gateway = gateway
    app.state.rates = Rates(settings.rates, proxies)
    # The last one added sees a request first.
    app.add_middleware(BodyLimit, limit=settings.max_body_size)
    app.add_middleware(
        Idempotency,
        engine=runtime.engine,
        settings=settings.idempotency,
        secrets=InstallationSecret.of(settings.secret_key, settings.secret_key_previous).all,
        max_body=settings.max_body_size,
        max_form=settings.max_document_size * settings.max_documents_per_request,
    )
    app.add_middleware(Audit, trail=gateway.audit.trail, proxies=proxies)
    app.add_middleware(HeadLimits, limits=settings.requests, max_head_size=settings.http.max_head_size)
    errors.install(app)
    app.router.routes.extend(routes_of(settings.deployment_mode))
    app.add_api_route("/health", _health, tags=["health"])
    app.router.routes.extend(routes(runtime.health, runtime.metrics))
    traced = settings.otel_enabled and settings.otel_fastapi_enabled
    init_fastapi_instrumentation(app if traced else None, tracer_provider=runtime.telemetry.provider)
    return app


async def _health() -> dict[str, str]:
    return {"status": "healthy", "service": "aperag-api"}


def _assemble(
    runtime: Runtime, settings: Settings, embedder: Embedder, models: SearchModels, completions: Models
) -> Gateway:
    secret, hasher, vault = _secrets(settings)
    engine, bus, dispatcher, first_due = runtime.engine, runtime.bus, runtime.dispatcher, settings.work.first_due
    fanout = Fanout(settings.event_buffer)
    feed = Feed(bus, engine, fanout)
    outside = open_web(settings.web, settings.outbound)
    prompts_ = PromptService(engine, Templates())
    searches_ = search_service(engine, fanout, embedder, models)
    return Gateway(
        **conversations(runtime, settings, prompts_, searches_, completions).by_name(),
        audit=AuditService(engine, AuditTrail(engine)),
        authenticator=Authenticator(engine, hasher, settings.key_touched_every),
        feed=feed,
        api_keys=ApiKeyService(engine, hasher),
        collections=CollectionService(engine, dispatcher, first_due, vault, embedding_models(engine, embedder, models)),
        contents=ContentService(engine, LocalObjectStore(settings.objects.directory)),
        dead_letters=DeadLetterService(engine, dispatcher, settings.work, settings.interactive_documents),
        events=EventService(engine, bus, feed, fanout, settings.event_heartbeat),
        identity=open_identity(runtime, settings, secret),
        installation=InstallationService(engine, vault, MinerU(outside.client, settings.mineru_url)),
        marketplace=MarketplaceService(engine),
        inference=InferenceService(EmbeddersBesideLocal(embedder, models), models),
        mcp=McpProxy(settings.mcp_url),
        models=ModelService(engine),
        prompts=prompts_,
        providers=ProviderService(engine, vault_of(settings, secret) or vault, outside.client.guard),
        queues=QueueService(engine, bus),
        quotas=QuotaService(engine),
        searches=searches_,
        sharing=SharingService(engine),
        spans=SpanIntake(runtime.telemetry, settings.traces_token),
        summaries=SummaryService(engine, dispatcher, first_due),
        tasks=TaskService(engine, dispatcher, first_due),
        timelines=_timelines(runtime, settings),
        timers=TimerService(engine, dispatcher.publisher),
        traces=TraceService(engine, bus),
        web=outside,
    )


def _secrets(settings: Settings) -> tuple[InstallationSecret, KeyHasher, Vault]:
    secret = InstallationSecret.of(settings.secret_key, settings.secret_key_previous)
    return secret, KeyHasher.of(secret.current, secret.previous), Vault.of(secret.current, secret.previous)


def _models(runtime: Runtime, settings: Settings) -> Models:
    secret = InstallationSecret.of(settings.secret_key, settings.secret_key_previous)
    return Models(runtime.engine, vault_of(settings, secret), settings.outbound, settings.models)


def _timelines(runtime: Runtime, settings: Settings) -> TimelineService:
    work = settings.work
    return TimelineService(
        runtime.engine, runtime.bus, WorkPolicy.of(work), work.in_flight_per_owner, _traces(settings)
    )


def _traces(settings: Settings) -> str:
    """Where a person reads the traces that timelines name."""
    if not settings.otel_enabled:
        return "nowhere: tracing is off"
    if collector(settings) is not None:
        return "in the OpenTelemetry collector"
    return "/api/v1/traces/{trace_id}" if settings.telemetry.spans_to_nats else "nowhere: spans are not kept"
