"""What of an address leaves a process in a span."""

from __future__ import annotations

import pytest
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter

from aperag_common.telemetry.redaction import Redacting, redacted, without_secrets


@pytest.mark.parametrize(
    ("address", "kept"),
    [
        ("http://g/api/v1/user", "http://g/api/v1/user"),
        ("http://g/callback?code=geheim&state=x", "http://g/callback?***"),
        ("http://anna:geheim@g:80/x#geheim", "http://g:80/x"),
        ("/api/v1/apikeys/sk-0123456789abcdef0123456789abcdef", "/api/v1/apikeys/***"),
        ("/api/v1/user?token=geheim", "/api/v1/user?***"),
        ("http://[geheim", "***"),
        ("", ""),
    ],
)
def test_an_address_keeps_what_is_no_secret(address: str, kept: str) -> None:
    assert without_secrets(address) == kept


def test_a_span_is_exported_without_its_query_and_otherwise_as_it_was() -> None:
    exporter = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(Redacting(exporter)))
    tracer = provider.get_tracer("tests")
    outermost = tracer.start_as_current_span(
        "GET", attributes={"http.url": "http://g/x?a=geheim", "url.query": "a=geheim"}
    )
    with outermost, tracer.start_as_current_span("inner", attributes={"http.method": "GET"}):
        pass
    inner, outer = exporter.get_finished_spans()
    assert dict(outer.attributes or {}) == {"http.url": "http://g/x?***", "url.query": "***"}
    assert inner.parent is not None
    assert inner.parent == outer.get_span_context()
    assert redacted(inner) is inner
    assert (outer.name, outer.kind.name, outer.status.status_code.name) == ("GET", "INTERNAL", "UNSET")
    assert 0 < (outer.start_time or 0) <= (inner.start_time or 0) <= (inner.end_time or 0) <= (outer.end_time or 0)
