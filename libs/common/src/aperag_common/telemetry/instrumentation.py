"""Libraries whose work becomes spans: FastAPI's requests and SQLAlchemy's statements."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import metrics

from aperag_common.telemetry import propagate
from aperag_common.telemetry.record import SQL_SCOPE

if TYPE_CHECKING:
    from collections.abc import Mapping

    from fastapi import FastAPI
    from opentelemetry.trace import TracerProvider
    from sqlalchemy.ext.asyncio import AsyncEngine

UNTRACED = ("/health", "/livez", "/readyz", "/metrics", "/v1/traces")
"""Probes, scrapes, and the route that takes spans: a span of that one would make the next request."""


def init_fastapi_instrumentation(app: FastAPI | None, *, tracer_provider: TracerProvider | None = None) -> None:
    """Each request becomes a span. Without an ``app`` nothing is traced, without a provider the process's is used.

    FastAPI makes the spans itself. One per chunk that is sent or received would drown a stream's trace, and one per step
    of the framework all others.
    """
    if app is None:
        return
    # FastAPI reads this at each request, and has no other way to set it once there is an application.
    app._telemetry |= {  # noqa: SLF001
        "tracer_provider": tracer_provider or propagate.provider(),
        "tracing": True,
        "metrics": False,
        "logs": False,
        "operation_spans": False,
        "exclude": _untraced,
    }


def _untraced(scope: Mapping[str, Any]) -> bool:
    return str(scope["path"]).endswith(UNTRACED)


def init_sqlalchemy_instrumentation(
    engine: AsyncEngine | None, *, tracer_provider: TracerProvider | None = None
) -> None:
    """Each statement becomes a span. Without an ``engine`` nothing is instrumented, without a provider the process's is used."""
    if engine is None:
        return
    # Imported here, for a process without a database shall not pay for it.
    from opentelemetry.instrumentation.sqlalchemy.engine import EngineTracer  # noqa: PLC0415

    # Not SQLAlchemyInstrumentor: that patches create_engine of the whole process, takes one engine only, and
    # on an unsupported SQLAlchemy prints a line and instruments nothing.
    connections = metrics.NoOpMeter(SQL_SCOPE).create_up_down_counter("db.client.connections.usage")
    tracer = (tracer_provider or propagate.provider()).get_tracer(SQL_SCOPE)
    EngineTracer(tracer, engine.sync_engine, connections)  # type: ignore[no-untyped-call]  # not annotated there
