"""Addresses leave a process without what may be secret in them: queries, names and passwords, and keys of ours."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.sdk.trace.export import SpanExporter

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from opentelemetry.sdk.trace.export import SpanExportResult

QUERY = "url.query"
ADDRESSES = ("http.url", "http.target", "url.full", "url.path")
_SENSITIVE = frozenset({*ADDRESSES, QUERY})
MASK = "***"

_API_KEY = re.compile(r"sk-[0-9a-f]{16,}")


class Redacting(SpanExporter):
    """Stands before any exporter: where a span came from makes no difference."""

    def __init__(self, exporter: SpanExporter) -> None:
        self._exporter = exporter

    def export(self, spans: Sequence[ReadableSpan]) -> SpanExportResult:
        return self._exporter.export([redacted(span) for span in spans])

    def shutdown(self) -> None:
        self._exporter.shutdown()

    def force_flush(self, timeout_millis: int = 30_000) -> bool:
        return self._exporter.force_flush(timeout_millis)


def redacted(span: ReadableSpan) -> ReadableSpan:
    """``span`` itself where there is nothing to hide."""
    found: Mapping[str, Any] = span.attributes or {}
    if _SENSITIVE.isdisjoint(found):  # of most spans; each look-up in a span's own mapping is a call
        return span
    changed = {name: without_secrets(str(found[name])) for name in ADDRESSES if name in found}
    if QUERY in found:
        changed[QUERY] = MASK
    if all(found[name] == value for name, value in changed.items()):
        return span
    return ReadableSpan(
        name=span.name,
        context=span.get_span_context(),
        parent=span.parent,
        resource=span.resource,
        attributes={**found, **changed},
        events=span.events,
        links=span.links,
        kind=span.kind,
        instrumentation_scope=span.instrumentation_scope,
        status=span.status,
        start_time=span.start_time,
        end_time=span.end_time,
    )


def without_secrets(address: str) -> str:
    """That it had a query can still be seen."""
    try:
        parts = urlsplit(address)
    except ValueError:
        return MASK
    host = parts.netloc.rpartition("@")[2]
    kept = parts._replace(netloc=host, query=MASK if parts.query else "", fragment="").geturl()
    return _API_KEY.sub(MASK, kept)
