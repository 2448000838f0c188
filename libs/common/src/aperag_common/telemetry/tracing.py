"""The one place where a process decides what its spans are and where they go."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import structlog
from opentelemetry import trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExportResult

from aperag_common.settings import ServiceSettings
from aperag_common.sparing import without
from aperag_common.telemetry import propagate
from aperag_common.telemetry.console import ConsoleExporter
from aperag_common.telemetry.record import SERVICE
from aperag_common.telemetry.redaction import Redacting
from aperag_common.version import VERSION

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nats.aio.client import Client
    from opentelemetry.sdk.trace import ReadableSpan
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider
    from pydantic import SecretStr

    from aperag_common.settings import ProcessSettings
    from aperag_common.telemetry.nats_exporter import NatsSpanExporter

log = structlog.get_logger(__name__)

READABLE_MILLISECONDS = 250
"""A person reads a trace right after what they did."""
STOP_SECONDS = 3.0
NAME = "aperag"
"""Of an installation that is given none."""


@dataclass(frozen=True, slots=True)
class Gateway:
    """Who takes the spans of a process that has no way to the bus: ``url`` is its address, without a path."""

    url: str
    token: SecretStr = field(repr=False)


class Telemetry:
    """Between ``start`` and ``stop`` the process's spans are made by ``provider`` and leave through one exporter.

    Instrumentations (FastAPI, SQLAlchemy, httpx) are given ``provider``; our own code asks ``propagate.tracer()``.
    ``nats`` is the exporter where it is the one that needs a connection.
    """

    def __init__(
        self, provider: TracerProvider, exporter: SpanExporter | None, *, nats: NatsSpanExporter | None = None
    ) -> None:
        self.provider = provider
        self._exporter = exporter
        self._nats = nats

    @classmethod
    def start(
        cls, settings: ProcessSettings, *, service: str, instance: str = "", gateway: Gateway | None = None
    ) -> Telemetry:
        """Without a collector a service on the bus publishes its spans there; another one gives them to ``gateway``."""
        on_bus = settings if isinstance(settings, ServiceSettings) else None
        if not settings.otel_enabled:
            telemetry = cls(trace.NoOpTracerProvider(), None)
        else:
            endpoint = collector(settings)
            nats = _nats_exporter(on_bus, service) if on_bus is not None and endpoint is None else None
            exporter = _otlp_exporter(endpoint) if endpoint is not None else nats
            if exporter is None and gateway is not None:
                exporter = _gateway_exporter(gateway)
            delay = READABLE_MILLISECONDS if endpoint is None else None
            provider = _provider(_resource(settings, service, instance or settings.instance), exporter, delay=delay)
            if settings.otel_console_enabled:
                _add(provider, ConsoleExporter(service), delay=READABLE_MILLISECONDS)
            telemetry = cls(provider, exporter, nats=nats)
        propagate.use(telemetry.provider)
        return telemetry

    @property
    def dropped(self) -> int:
        """Spans that waited for NATS until there was no room left."""
        return 0 if self._nats is None else self._nats.dropped

    @property
    def exports(self) -> bool:
        """Whether spans leave this process."""
        return self._exporter is not None

    async def hand_on(self, spans: Sequence[ReadableSpan]) -> bool:
        """Spans of another process leave as this one's own; whether they did. Call it where ``exports`` only."""
        if self._exporter is None:
            return False
        # In a thread: to a collector it is a request.
        return await asyncio.to_thread(Redacting(self._exporter).export, spans) is SpanExportResult.SUCCESS

    def attach_bus(self, nc: Client) -> None:
        """Spans made before wait until now; call it in the loop that owns ``nc``."""
        if self._nats is not None:
            self._nats.attach(nc)

    async def stop(self) -> None:
        """Sends what is left, for a few seconds at most; call it before the connection is closed."""
        propagate.use(trace.NoOpTracerProvider())
        provider, exporter = self.provider, self._exporter
        if not isinstance(provider, SdkTracerProvider):
            return
        # In a thread: the processor waits for the exporter, and the NATS exporter needs this loop.
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(asyncio.to_thread(provider.force_flush), STOP_SECONDS)
        if self._nats is not None:
            await self._nats.close(seconds=STOP_SECONDS)
        elif exporter is not None:
            # Cuts the retries of a collector that is away short; the provider below would wait for them.
            exporter.shutdown()
        await asyncio.to_thread(provider.shutdown)


def _otlp_exporter(endpoint: str) -> SpanExporter:
    # Its import costs a tenth of the start of a service that has no collector.
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    return OTLPSpanExporter(endpoint=endpoint)


def _gateway_exporter(gateway: Gateway) -> SpanExporter:
    with without("chardet"):  # which requests prefers to the smaller library that it comes with
        import requests  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http import Compression  # noqa: PLC0415
    from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter  # noqa: PLC0415

    session = requests.Session()
    session.trust_env = False  # the gateway is a neighbour; a proxy would see the token
    return OTLPSpanExporter(
        endpoint=traces_url(gateway.url),
        headers={"Authorization": f"Bearer {gateway.token.get_secret_value()}"},
        compression=Compression.NoCompression,
        session=session,
    )


def _nats_exporter(settings: ServiceSettings, service: str) -> NatsSpanExporter | None:
    if not settings.telemetry.spans_to_nats:
        return None
    # Imported here, for a process without the bus shall not pay for it.
    from aperag_common.telemetry.nats_exporter import NatsSpanExporter  # noqa: PLC0415

    return NatsSpanExporter(service, sql_spans=settings.telemetry.sql_spans_to_nats)


def collector(settings: ProcessSettings) -> str | None:
    """Where OTLP goes over HTTP, if anywhere."""
    base = settings.otlp_endpoint or (settings.jaeger_endpoint if settings.jaeger_enabled else None)
    return traces_url(base) if base else None


def traces_url(base: str) -> str:
    """OTLP's rule: the signal's path is appended to the base URL."""
    path = "/v1/traces"
    base = base.rstrip("/")
    return base if base.endswith(path) else base + path


def _resource(settings: ProcessSettings, service: str, instance: str) -> Resource:
    """Services of one installation share its name and keep their own: both are told, in OpenTelemetry's words and ours."""
    name = settings.otel_service_name or NAME
    attributes = {
        "service.namespace": name,
        "service.name": f"{name}-{service}",
        "service.version": settings.otel_service_version or VERSION,
        SERVICE: service,
    }
    return Resource.create(attributes | ({"service.instance.id": instance} if instance else {}))


def _provider(resource: Resource, exporter: SpanExporter | None, *, delay: float | None) -> SdkTracerProvider:
    provider = SdkTracerProvider(resource=resource, shutdown_on_exit=False)
    if exporter is not None:
        _add(provider, exporter, delay=delay)
    return provider


def _add(provider: SdkTracerProvider, exporter: SpanExporter, *, delay: float | None) -> None:
    """``delay`` in milliseconds before a batch leaves; None is OpenTelemetry's own."""
    provider.add_span_processor(BatchSpanProcessor(Redacting(exporter), schedule_delay_millis=delay))
