"""The one place where a process decides what its spans are and where they go."""

from __future__ import annotations

import asyncio
import contextlib
from importlib import metadata
from typing import TYPE_CHECKING

import structlog
from opentelemetry import metrics, trace
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider as SdkTracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor

from aperag_common.settings import ServiceSettings
from aperag_common.telemetry import propagate
from aperag_common.telemetry.record import SQL_SCOPE
from aperag_common.telemetry.redaction import Redacting

if TYPE_CHECKING:
    from nats.aio.client import Client
    from opentelemetry.sdk.trace.export import SpanExporter
    from opentelemetry.trace import TracerProvider
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.settings import ProcessSettings
    from aperag_common.telemetry.nats_exporter import NatsSpanExporter

log = structlog.get_logger(__name__)

NATS_DELAY_MILLISECONDS = 250
"""A person reads a trace right after what they did."""
STOP_SECONDS = 3.0


class Telemetry:
    """Between ``start`` and ``stop`` the process's spans are made by ``provider`` and leave through one exporter.

    Instrumentations (FastAPI, httpx) are given ``provider``; our own code asks ``propagate.tracer()``.
    ``nats`` is the exporter where it is the one that needs a connection.
    """

    def __init__(
        self,
        provider: TracerProvider,
        exporter: SpanExporter | None,
        *,
        sql: bool = False,
        nats: NatsSpanExporter | None = None,
    ) -> None:
        self.provider = provider
        self._exporter = exporter
        self._sql = sql
        self._nats = nats

    @classmethod
    def start(cls, settings: ProcessSettings, *, service: str, instance: str = "") -> Telemetry:
        """Only services on the bus have a way to publish spans there; others need a collector."""
        on_bus = settings if isinstance(settings, ServiceSettings) else None
        if not settings.otel_enabled:
            telemetry = cls(trace.NoOpTracerProvider(), None)
        else:
            endpoint = collector(settings)
            nats = _nats_exporter(on_bus, service) if on_bus is not None and endpoint is None else None
            exporter = _otlp_exporter(endpoint) if endpoint is not None else nats
            delay = NATS_DELAY_MILLISECONDS if nats is not None else None
            provider = _provider(exporter, service=service, instance=instance or settings.instance, delay=delay)
            sql = on_bus is not None and on_bus.otel_sqlalchemy_enabled
            telemetry = cls(provider, exporter, sql=sql, nats=nats)
        propagate.use(telemetry.provider)
        return telemetry

    @property
    def dropped(self) -> int:
        """Spans that waited for NATS until there was no room left."""
        return 0 if self._nats is None else self._nats.dropped

    def instrument_engine(self, engine: AsyncEngine) -> None:
        """Statements of this engine become spans, if settings want them."""
        if not self._sql:
            return
        # Imported here, for a process without a database shall not pay for it.
        from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer  # noqa: PLC0415

        # Not SQLAlchemyInstrumentor: that patches create_engine of the whole process, takes one engine only, and
        # on an unsupported SQLAlchemy prints a line and instruments nothing.
        connections = metrics.NoOpMeter(SQL_SCOPE).create_up_down_counter("db.client.connections.usage")
        tracer = self.provider.get_tracer(SQL_SCOPE)
        EngineTracer(tracer, engine.sync_engine, connections)  # type: ignore[no-untyped-call]  # not annotated there

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


def _provider(exporter: SpanExporter | None, *, service: str, instance: str, delay: float | None) -> SdkTracerProvider:
    """``delay`` in milliseconds before a batch leaves; None is OpenTelemetry's own."""
    attributes = {
        "service.namespace": "aperag",
        "service.name": service,
        "service.version": metadata.version("aperag-common"),
    }
    if instance:
        attributes["service.instance.id"] = instance
    provider = SdkTracerProvider(resource=Resource.create(attributes), shutdown_on_exit=False)
    if exporter is not None:
        provider.add_span_processor(BatchSpanProcessor(Redacting(exporter), schedule_delay_millis=delay))
    return provider
