"""Composition root of the gateway: the only place that names concrete classes."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.conversation.turns.credentials import TurnCredentials
from aperag_api.edge.conversation import open_conversation
from aperag_api.edge.gateway import Gateway
from aperag_api.edge.identity import open_identity
from aperag_api.edge.knowledge import open_knowledge
from aperag_api.edge.mcp.proxy import McpProxy
from aperag_api.edge.operations import open_operations
from aperag_api.edge.routers import routes_of
from aperag_api.identity.apikeys.credentials import ApiKeyCredentials
from aperag_api.identity.apikeys.keys import KeyHasher
from aperag_api.identity.audit.middleware import Audit
from aperag_api.kernel import errors
from aperag_api.kernel.auth import Authentication
from aperag_api.kernel.http.application import Application
from aperag_api.kernel.http.head_limits import HeadLimits
from aperag_api.kernel.http.rates import Rates
from aperag_api.kernel.http.routing import RouteIndex
from aperag_api.kernel.idempotency.middleware import Idempotency
from aperag_api.kernel.limits import BodyLimit
from aperag_api.kernel.memory import Memories, Memory
from aperag_api.kernel.revocations import Revocations
from aperag_api.kernel.streaming.fanout import Fanout
from aperag_api.kernel.streaming.places import StreamPlaces
from aperag_api.knowledge.web.assembly import open_web
from aperag_api.models.catalog.service import ModelService
from aperag_api.models.inference.service import InferenceService
from aperag_api.models.prompts.service import PromptService
from aperag_api.models.providers.service import ProviderService
from aperag_api.models.services import Models as ModelServices
from aperag_common.auth.installation import InstallationSecret
from aperag_common.auth.vault import Vault
from aperag_common.health import routes
from aperag_common.pool import ProcessPool
from aperag_common.telemetry import init_fastapi_instrumentation
from aperag_common.templates.rendering import Templates
from aperag_common.version import VERSION
from aperag_models.catalog import Models
from aperag_models.keys import vault_of
from aperag_retrieval.embedding import EmbeddersBesideLocal, in_pool, in_process
from aperag_work.scheduler import JobScheduler

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.settings import Settings
    from aperag_api.knowledge.searches.reranking import SearchModels
    from aperag_retrieval.embedding import Embedders, SharedEmbedder
    from aperag_work.runtime import Runtime

TEXTS_IDLE_SECONDS = 300.0


@dataclass(frozen=True, slots=True)
class _Embedders:
    """The local encoders twice: a thousand ``texts`` to embed hold up no search."""

    queries: EmbeddersBesideLocal
    texts: EmbeddersBesideLocal


@asynccontextmanager
async def open_gateway(
    runtime: Runtime,
    settings: Settings,
    *,
    encoders: Sequence[SharedEmbedder] | None = None,
    models: SearchModels | None = None,
) -> AsyncIterator[Gateway]:
    encoders, texts = encoders or in_process(), ProcessPool(1, idle_seconds=TEXTS_IDLE_SECONDS)
    callable_models = _models(runtime, settings)
    memories = Memories(settings.remembered_for)
    models = models or callable_models
    embedders = _Embedders(EmbeddersBesideLocal(encoders, models), EmbeddersBesideLocal(in_pool(texts), models))
    gateway = _assemble(runtime, settings, memories, embedders, models, callable_models)
    # What this gateway changes itself it forgets before it answers; what others change, when their events come.
    runtime.dispatcher.on_event.append(memories.changed)
    await gateway.identity.quotas.keep_initial(settings.initial_quotas)
    await gateway.identity.outsiders.start()
    gateway.operations.feed.start()
    gateway.operations.subscription_keeper.start()
    runtime.health.add("events", gateway.operations.feed.check, critical=False)
    try:
        yield gateway
    finally:
        runtime.dispatcher.on_event.remove(memories.changed)
        await gateway.operations.subscription_keeper.close()
        await gateway.operations.feed.close()
        await gateway.identity.outsiders.close()
        await gateway.revocations.close()
        await gateway.conversation.turns.relays.close()
        await gateway.identity.oauth.close()
        gateway.identity.users.passwords.close()
        await gateway.mcp.close()
        await gateway.models.prompts.templates.close()
        await gateway.models.prompts.of_turns.close()
        await gateway.knowledge.web.close()
        for encoder in encoders:
            await encoder.close()
        await texts.close()
        await callable_models.close()


def make_app(gateway: Gateway, runtime: Runtime, settings: Settings) -> FastAPI:
    front = gateway.identity.front
    app = Application(
        front=front,
        cors=settings.cors,
        title="ApeRAG",
        version=VERSION,
        description="Upload documents, watch them become searchable, find them.",
    )
    app.state.services, app.state.authentication = gateway.services, gateway.authentication
    app.state.rates, app.state.streams = Rates(settings.rates, front), StreamPlaces(settings.max_streams_per_user)
    app.state.console_url = settings.console_url
    # The last one added sees a request first.
    app.add_middleware(BodyLimit, limit=settings.max_body_size)
    app.add_middleware(
        Idempotency,
        engine=runtime.engine,
        settings=settings.idempotency,
        secrets=_secret(settings).all,
        max_body=settings.max_body_size,
        max_form=settings.max_document_size * settings.max_documents_per_request,
    )
    audit = gateway.identity.audit
    app.add_middleware(Audit, trail=audit.trail, strangers=audit.strangers, front=front)
    app.add_middleware(HeadLimits, limits=settings.requests, max_head_size=settings.http.max_head_size, front=front)
    errors.install(app)
    app.router.routes.extend(routes_of(settings.deployment_mode))
    app.add_api_route("/health", _health, tags=["health"])
    app.router.routes.extend(routes(runtime.health, runtime.metrics))
    app.router.middleware_stack = RouteIndex(app.router)
    traced = settings.otel_enabled and settings.otel_fastapi_enabled
    init_fastapi_instrumentation(app if traced else None, tracer_provider=runtime.telemetry.provider)
    return app


async def _health() -> dict[str, str]:
    return {"status": "healthy", "service": "aperag-api"}


def _assemble(
    runtime: Runtime,
    settings: Settings,
    memories: Memories,
    embedders: _Embedders,
    models: SearchModels,
    completions: Models,
) -> Gateway:
    secret, engine = _secret(settings), runtime.engine
    hasher, vault = KeyHasher.of(secret.current, secret.previous), Vault.of(secret.current, secret.previous)
    fanout, scheduler = Fanout(settings.event_buffer), JobScheduler(engine, settings.work)
    web, prompts = open_web(settings.web, settings.outbound), PromptService(engine, Templates(), Templates(of_one=None))
    provider_keys = vault_of(settings, secret) or vault
    providers = ProviderService(engine, provider_keys, web.client.guard)
    keys = ApiKeyCredentials(engine, hasher, settings.key_touched_every, Memory("key", memories))
    revocations = Revocations(memories)
    identity = open_identity(runtime, settings, secret, hasher, keys=keys, revocations=revocations)
    return Gateway(
        authentication=Authentication(
            identity.sessions, (keys, TurnCredentials(engine)), identity.front, origins=settings.cors.trusted
        ),
        identity=identity,
        knowledge=open_knowledge(
            runtime, settings, memories, scheduler, fanout, web, vault=vault, embedders=embedders.queries, models=models
        ),
        conversation=open_conversation(runtime, settings, scheduler=scheduler, prompts=prompts, models=completions),
        models=_model_services(engine, providers, prompts, embedders.texts, models),
        operations=open_operations(
            runtime,
            settings,
            vault=vault,
            provider_keys=provider_keys,
            fanout=fanout,
            client=web.client,
            revocations=revocations,
        ),
        mcp=McpProxy(settings.mcp_url),
        revocations=revocations,
    )


def _model_services(
    engine: AsyncEngine, providers: ProviderService, prompts: PromptService, embedders: Embedders, models: SearchModels
) -> ModelServices:
    inference = InferenceService(embedders, models)
    return ModelServices(ModelService(engine, providers), inference, prompts, providers)


def _secret(settings: Settings) -> InstallationSecret:
    return InstallationSecret.of(settings.secret_key, settings.secret_key_previous)


def _models(runtime: Runtime, settings: Settings) -> Models:
    return Models(runtime.engine, vault_of(settings, _secret(settings)), settings.outbound, settings.models)
