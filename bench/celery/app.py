"""A Celery application configured as the original's: late acknowledgement, results kept, everything else default."""

from __future__ import annotations

import os
from importlib.util import find_spec
from typing import Any

from bench.errors import BenchError

BROKER = "BENCH_CELERY_BROKER"
VISIBILITY = "BENCH_CELERY_VISIBILITY"
TRACED = "BENCH_CELERY_TRACED"
QUEUE = "celery"
UNACKED = "unacked"
"""Where the Redis transport keeps what is delivered and not yet acknowledged."""


def installed() -> bool:
    return find_spec("celery") is not None and find_spec("redis") is not None


def require() -> None:
    if not installed():
        message = "Celery is not installed: it is no dependency of ApeRAG"
        raise BenchError(message, hint="run ./justw bench … --vs celery, which installs it")


def make_app(broker: str, *, visibility_seconds: float | None = None) -> Any:
    """``visibility_seconds``: unacknowledged work is delivered again after it; the transport's default is an hour.

    Where it is given, the transport also looks for such work every ten seconds instead of every hundred.
    """
    # Only where Celery is compared.
    from celery import Celery  # type: ignore[import-not-found,import-untyped,unused-ignore]  # noqa: PLC0415

    app = Celery("bench", broker=broker, backend=broker)
    options: dict[str, float] = {}
    if visibility_seconds is not None:
        options = {"visibility_timeout": visibility_seconds, "unacked_restore_throttle": 1}
    app.conf.update(
        task_acks_late=True,
        broker_connection_retry_on_startup=True,
        broker_transport_options=options,
        result_backend_transport_options=options,
    )
    return app


def worker_app() -> Any:
    """In a worker process, where the environment says which broker."""
    visibility = os.environ.get(VISIBILITY)
    if os.environ.get(TRACED):
        _trace()
    return make_app(os.environ[BROKER], visibility_seconds=float(visibility) if visibility else None)


def _trace() -> None:
    """Spans are made and batched as ours are, then thrown away: cheaper than ours, which reach a stream."""
    from opentelemetry import trace  # noqa: PLC0415
    from opentelemetry.instrumentation.celery import (  # noqa: PLC0415
        CeleryInstrumentor,  # type: ignore[import-not-found,unused-ignore]  # bench-only dependency
    )
    from opentelemetry.sdk.trace import TracerProvider  # noqa: PLC0415
    from opentelemetry.sdk.trace.export import BatchSpanProcessor, SpanExporter, SpanExportResult  # noqa: PLC0415

    class Forget(SpanExporter):
        def export(self, spans: Any) -> SpanExportResult:  # noqa: ARG002  # the interface's name
            return SpanExportResult.SUCCESS

    provider = TracerProvider()
    provider.add_span_processor(BatchSpanProcessor(Forget()))
    trace.set_tracer_provider(provider)
    CeleryInstrumentor().instrument()  # type: ignore[no-untyped-call,unused-ignore]
