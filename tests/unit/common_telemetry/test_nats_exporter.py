"""Spans become messages, and what cannot be sent is dropped and counted."""

from __future__ import annotations

import contextlib
import json
from typing import Any

import pytest
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor, SpanExportResult
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.trace import Link, SpanKind, Tracer

from aperag_common.telemetry.nats_exporter import MAX_MESSAGE_BYTES, NatsSpanExporter, messages_of
from aperag_common.telemetry.record import SPANS, SQL_SCOPE, SpanRecord, record_of

TRACE_A, TRACE_B = "a" * 32, "b" * 32


def make_record(trace_id: str = TRACE_A, **values: Any) -> SpanRecord:
    fields: dict[str, Any] = {
        "trace_id": trace_id,
        "span_id": "c" * 16,
        "parent_id": None,
        "name": "process",
        "kind": "consumer",
        "service": "indexer",
        "start": 1,
        "end": 2,
        "status": "unset",
        "attributes": {},
    }
    return SpanRecord(**(fields | values))


class Recorded:
    """Real spans of a real provider."""

    def __init__(self) -> None:
        self._memory = InMemorySpanExporter()
        self._provider = TracerProvider(shutdown_on_exit=False)
        self._provider.add_span_processor(SimpleSpanProcessor(self._memory))

    def tracer(self, scope: str = "aperag") -> Tracer:
        return self._provider.get_tracer(scope)

    def spans(self) -> list[ReadableSpan]:
        return list(self._memory.get_finished_spans())

    def records(self) -> list[SpanRecord]:
        return [record_of(span, service="indexer") for span in self.spans()]


@pytest.fixture
def recorded() -> Recorded:
    return Recorded()


def test_each_trace_of_a_batch_is_one_message_on_its_own_subject() -> None:
    messages = list(messages_of([make_record(TRACE_A), make_record(TRACE_B), make_record(TRACE_A)]))
    assert [(message.subject, message.spans) for message in messages] == [
        (f"aperag.span.{TRACE_A}", 2),
        (f"aperag.span.{TRACE_B}", 1),
    ]


def test_a_message_holds_the_agreed_fields_as_compact_json() -> None:
    (message,) = messages_of([make_record(attributes={"aperag.row": "step1"})])
    assert b" " not in message.body
    (span,) = json.loads(message.body)
    assert span == {
        "trace_id": TRACE_A,
        "span_id": "c" * 16,
        "parent_id": None,
        "name": "process",
        "kind": "consumer",
        "service": "indexer",
        "start": 1,
        "end": 2,
        "status": "unset",
        "attributes": {"aperag.row": "step1"},
        "links": [],
    }


def test_a_large_trace_is_split_below_the_limit_and_nothing_is_lost() -> None:
    records = [make_record(span_id=f"{number:016x}", attributes={"text": "x" * 50_000}) for number in range(50)]
    messages = list(messages_of(records))
    assert len(messages) > 1
    assert all(len(message.body) <= MAX_MESSAGE_BYTES for message in messages)
    read = [span for message in messages for span in SPANS.validate_json(message.body)]
    assert read == records


@pytest.mark.parametrize("value", ["x" * 2_000_000, "\ud800"], ids=["too large", "no text"])
def test_a_span_with_impossible_attributes_is_kept_without_them(value: str) -> None:
    (message,) = messages_of([make_record(attributes={"document": value})])
    (span,) = SPANS.validate_json(message.body)
    assert span == make_record(attributes={"aperag.truncated": True})


def test_a_record_keeps_kind_and_parent_and_of_an_error_only_its_type(recorded: Recorded) -> None:
    message = "the text of a document"
    with contextlib.suppress(LookupError), recorded.tracer().start_as_current_span("parent"):
        with recorded.tracer().start_as_current_span("publish", kind=SpanKind.PRODUCER):
            pass
        raise LookupError(message)
    child, parent = recorded.records()
    assert (child.kind, child.parent_id, child.trace_id) == ("producer", parent.span_id, parent.trace_id)
    assert (parent.status, parent.attributes) == ("error", {"error.type": "LookupError"})
    assert parent.start <= child.start <= child.end <= parent.end
    assert message not in parent.model_dump_json()


def test_a_redrive_shows_the_span_it_is_linked_to(recorded: Recorded) -> None:
    original = recorded.tracer().start_span("upload")
    recorded.tracer().start_span("redrive", links=[Link(original.get_span_context())]).end()
    original.end()
    redrive, upload = recorded.records()
    assert [(link.trace_id, link.span_id) for link in redrive.links] == [(upload.trace_id, upload.span_id)]
    assert redrive.trace_id != upload.trace_id


def test_a_sql_span_tells_its_operation_and_never_its_statement(recorded: Recorded) -> None:
    statement = {"db.statement": "SELECT secret FROM document", "db.user": "aperag"}
    with recorded.tracer(SQL_SCOPE).start_as_current_span("SELECT aperag", attributes=statement):
        pass
    (record,) = recorded.records()
    assert record.name == "SELECT aperag"
    assert record.attributes == {"db.operation": "SELECT"}


@pytest.mark.parametrize(("sql_spans", "sent"), [(True, 2), (False, 1)])
def test_sql_spans_can_be_left_out_and_lonely_ones_always_are(
    recorded: Recorded, *, sql_spans: bool, sent: int
) -> None:
    sql = recorded.tracer(SQL_SCOPE)
    sql.start_span("SELECT poll").end()
    with recorded.tracer().start_as_current_span("process"), sql.start_as_current_span("SELECT work"):
        pass
    # No room at all: what would have been sent is what is counted as dropped.
    exporter = NatsSpanExporter("indexer", sql_spans=sql_spans, max_waiting_bytes=0)
    exporter.export(recorded.spans())
    assert exporter.dropped == sent


async def test_without_a_connection_the_oldest_spans_are_dropped_and_every_one_is_counted(recorded: Recorded) -> None:
    for _ in range(100):
        recorded.tracer().start_span("process").end()
    exporter = NatsSpanExporter("indexer", max_waiting_bytes=5_000)
    assert exporter.export(recorded.spans()) is SpanExportResult.SUCCESS
    assert 50 < exporter.dropped < 100
    await exporter.close(seconds=1)
    assert exporter.dropped == 100
