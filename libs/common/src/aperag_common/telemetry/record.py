"""A span as it lies on the stream and as a person reads it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from opentelemetry import trace
from pydantic import BaseModel, ConfigDict, TypeAdapter

if TYPE_CHECKING:
    from opentelemetry.sdk.trace import ReadableSpan

SERVICE = "aperag.service"
"""Of a resource: the service as people call it here, without the name of its installation."""
SQL_SCOPE = "opentelemetry.instrumentation.sqlalchemy"
MAX_NAME = 256
ERROR_TYPE = "error.type"
DB_OPERATION = "db.operation"


class SpanLink(BaseModel):
    """Another span this one has to do with without being its child."""

    model_config = ConfigDict(frozen=True)

    trace_id: str
    span_id: str


class SpanRecord(BaseModel):
    """One finished span; times are nanoseconds since the epoch, ids hexadecimal."""

    model_config = ConfigDict(frozen=True)

    trace_id: str
    span_id: str
    parent_id: str | None
    name: str
    kind: str
    service: str
    start: int
    end: int
    status: str
    attributes: dict[str, Any]
    links: tuple[SpanLink, ...] = ()


SPANS = TypeAdapter(list[SpanRecord])


def record_of(span: ReadableSpan, *, service: str) -> SpanRecord:
    """Neither statements nor messages of exceptions: both may quote a document.

    ``service`` is that of this process; a span of another one says itself whose it is.
    """
    context = span.get_span_context() or trace.INVALID_SPAN_CONTEXT
    return SpanRecord(
        trace_id=trace.format_trace_id(context.trace_id),
        span_id=trace.format_span_id(context.span_id),
        parent_id=None if span.parent is None else trace.format_span_id(span.parent.span_id),
        name=span.name[:MAX_NAME],
        kind=span.kind.name.lower(),
        service=str(span.resource.attributes.get(SERVICE) or service)[:MAX_NAME],
        start=span.start_time or 0,
        end=span.end_time or 0,
        status=span.status.status_code.name.lower(),
        attributes=_sql_attributes(span) if is_sql(span) else _attributes(span),
        links=tuple(
            SpanLink(
                trace_id=trace.format_trace_id(link.context.trace_id),
                span_id=trace.format_span_id(link.context.span_id),
            )
            for link in span.links
        ),
    )


def is_sql(span: ReadableSpan) -> bool:
    """A statement of SQLAlchemy's, or one of our own, which says what it does."""
    scope = span.instrumentation_scope
    return (scope is not None and scope.name == SQL_SCOPE) or DB_OPERATION in (span.attributes or {})


def _sql_attributes(span: ReadableSpan) -> dict[str, Any]:
    operation = (span.attributes or {}).get(DB_OPERATION) or span.name.partition(" ")[0]
    return {DB_OPERATION: operation, **_error_type(span)}


def _attributes(span: ReadableSpan) -> dict[str, Any]:
    own = dict(span.attributes or {})
    return {**_error_type(span), **own} if span.events else own


def _error_type(span: ReadableSpan) -> dict[str, Any]:
    for event in span.events:
        if event.attributes and "exception.type" in event.attributes:
            return {ERROR_TYPE: event.attributes["exception.type"]}
    return {}
