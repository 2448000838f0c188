"""The W3C trace context that travels in message headers and rests on rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

if TYPE_CHECKING:
    from collections.abc import Mapping

    from opentelemetry.trace import Link, Span, Tracer, TracerProvider

TRACEPARENT = "traceparent"

_W3C = TraceContextTextMapPropagator()
_SCOPE = "aperag"


class _Current:
    """The tracer that ``tracer()`` answers; OpenTelemetry's own global can be set only once per process."""

    provider: TracerProvider = trace.NoOpTracerProvider()
    tracer: Tracer = trace.NoOpTracer()


def use(provider: TracerProvider) -> None:
    """Spans of this process are made by ``provider`` from now on."""
    _Current.provider = provider
    _Current.tracer = provider.get_tracer(_SCOPE)


def provider() -> TracerProvider:
    """The one that ``use`` was given last; one that records nothing before that."""
    return _Current.provider


def tracer() -> Tracer:
    """Ask for it at each use: what a module kept from before the start would record nothing."""
    return _Current.tracer


def inject() -> dict[str, str]:
    """Headers that carry the current span's context; empty outside any span."""
    headers: dict[str, str] = {}
    _W3C.inject(headers)
    return headers


def extract(headers: Mapping[str, str] | None) -> Context:
    """The sender's context and nothing of the caller's own; an empty one where the headers name none."""
    return _W3C.extract(headers or {}, Context())


def context_of(traceparent: str | None) -> Context | None:
    """The context that a row or a message belongs to; None, which is the caller's own, where it names none."""
    return None if traceparent is None else extract({TRACEPARENT: traceparent})


def traceparent_of(span: Span) -> str | None:
    """Without a propagator: this is called for every message."""
    context = span.get_span_context()
    if not context.is_valid:
        return None
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{context.trace_flags:02x}"


def no_context() -> Context:
    """A span started with it is the root of a new trace."""
    return Context()


def current_traceparent() -> str | None:
    return traceparent_of(trace.get_current_span())


def link_from(traceparent: str | None) -> Link | None:
    """None where there is no traceparent, or none that is valid."""
    context = _span_context(traceparent)
    return trace.Link(context) if context.is_valid else None


def trace_id_of(traceparent: str | None) -> str | None:
    """32 hexadecimal characters."""
    context = _span_context(traceparent)
    return trace.format_trace_id(context.trace_id) if context.is_valid else None


def _span_context(traceparent: str | None) -> trace.SpanContext:
    carrier = {} if traceparent is None else {TRACEPARENT: traceparent}
    return trace.get_current_span(extract(carrier)).get_span_context()
