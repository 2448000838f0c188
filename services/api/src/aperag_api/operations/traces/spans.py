"""Spans as OTLP carries them, made into those of the SDK: from then on they are like the gateway's own; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry.sdk.resources import SERVICE_NAME, Resource
from opentelemetry.sdk.trace import Event, ReadableSpan
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import Link, SpanContext, SpanKind, Status, StatusCode, TraceFlags, TraceState

from aperag_common.telemetry.record import SERVICE

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

MOST = 128
"""Links and events of one span; as many as OpenTelemetry itself keeps."""
TRACE_ID_BYTES, SPAN_ID_BYTES = 16, 8
_KINDS: Mapping[int, SpanKind] = {
    2: SpanKind.SERVER,
    3: SpanKind.CLIENT,
    4: SpanKind.PRODUCER,
    5: SpanKind.CONSUMER,
}
_STATUSES: Mapping[int, StatusCode] = {1: StatusCode.OK, 2: StatusCode.ERROR}


def spans_of(request: ExportTraceServiceRequest) -> Iterator[ReadableSpan]:
    """Those whose ids are ids; the others are left out."""
    for carried in request.resource_spans:
        resource = _resource(carried.resource.attributes)
        for scoped in carried.scope_spans:
            scope = InstrumentationScope(scoped.scope.name, scoped.scope.version)
            for span in scoped.spans:
                if (context := _context(span.trace_id, span.span_id, span.trace_state)) is not None:
                    yield _span(span, context, resource, scope)


def _resource(carried: Iterable[KeyValue]) -> Resource:
    """A sender that does not say in our words which service it is says it in OpenTelemetry's."""
    attributes = _attributes(carried)
    attributes.setdefault(SERVICE, str(attributes.get(SERVICE_NAME) or "unknown"))
    return Resource(attributes)


def _span(span: Span, context: SpanContext, resource: Resource, scope: InstrumentationScope) -> ReadableSpan:
    return ReadableSpan(
        name=span.name,
        context=context,
        parent=_context(span.trace_id, span.parent_span_id, ""),
        resource=resource,
        attributes=_attributes(span.attributes),
        events=[Event(it.name, _attributes(it.attributes), it.time_unix_nano) for it in span.events[:MOST]],
        links=list(_links(span)),
        kind=_KINDS.get(span.kind, SpanKind.INTERNAL),
        instrumentation_scope=scope,
        status=_status(span),
        start_time=span.start_time_unix_nano,
        end_time=span.end_time_unix_nano,
    )


def _status(span: Span) -> Status:
    code = _STATUSES.get(span.status.code, StatusCode.UNSET)
    return Status(code, span.status.message or None) if code is StatusCode.ERROR else Status(code)


def _links(span: Span) -> Iterator[Link]:
    for link in span.links[:MOST]:
        if (context := _context(link.trace_id, link.span_id, link.trace_state)) is not None:
            yield Link(context, _attributes(link.attributes))


def _context(trace_id: bytes, span_id: bytes, trace_state: str) -> SpanContext | None:
    if len(trace_id) != TRACE_ID_BYTES or len(span_id) != SPAN_ID_BYTES:
        return None
    context = SpanContext(
        int.from_bytes(trace_id),
        int.from_bytes(span_id),
        is_remote=True,
        trace_flags=TraceFlags(TraceFlags.SAMPLED),
        trace_state=TraceState.from_header([trace_state]) if trace_state else None,
    )
    return context if context.is_valid else None


def _attributes(carried: Iterable[KeyValue]) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in carried}


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case "array_value":
            return [_value(it) for it in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case None:
            return None
        case name:
            return getattr(value, name)
