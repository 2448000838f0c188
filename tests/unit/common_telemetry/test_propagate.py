"""Trace context in headers and on rows."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from aperag_common.telemetry import propagate

if TYPE_CHECKING:
    from collections.abc import Iterator

TRACE_ID = "4bf92f3577b34da6a3ce929d0e0e4736"
TRACEPARENT = f"00-{TRACE_ID}-00f067aa0ba902b7-01"


@pytest.fixture(autouse=True)
def recording() -> Iterator[None]:
    propagate.use(TracerProvider(shutdown_on_exit=False))
    yield
    propagate.use(trace.NoOpTracerProvider())


def test_a_receiver_continues_the_trace_of_the_sender() -> None:
    with propagate.tracer().start_as_current_span("send") as sent:
        headers = propagate.inject()
    with propagate.tracer().start_as_current_span("receive", context=propagate.extract(headers)) as received:
        assert received.get_span_context().trace_id == sent.get_span_context().trace_id


def test_outside_a_span_there_is_nothing_to_carry() -> None:
    assert propagate.inject() == {}
    assert propagate.current_traceparent() is None


@pytest.mark.parametrize("headers", [None, {}, {"traceparent": "nonsense"}])
def test_headers_without_context_do_not_inherit_the_span_of_the_caller(headers: dict[str, str] | None) -> None:
    with propagate.tracer().start_as_current_span("poll"):
        context = propagate.extract(headers)
    assert not trace.get_current_span(context).get_span_context().is_valid


def test_no_context_starts_a_trace_of_its_own() -> None:
    with (
        propagate.tracer().start_as_current_span("outer") as outer,
        propagate.tracer().start_as_current_span("redrive", context=propagate.no_context()) as inner,
    ):
        assert inner.get_span_context().trace_id != outer.get_span_context().trace_id


def test_a_row_remembers_the_trace_it_came_from() -> None:
    link = propagate.link_from(TRACEPARENT)
    assert link is not None
    assert trace.format_trace_id(link.context.trace_id) == TRACE_ID
    assert propagate.trace_id_of(TRACEPARENT) == TRACE_ID


@pytest.mark.parametrize("traceparent", [None, "", "nonsense", f"00-{'0' * 32}-00f067aa0ba902b7-01"])
def test_an_invalid_traceparent_links_to_nothing(traceparent: str | None) -> None:
    assert propagate.link_from(traceparent) is None
    assert propagate.trace_id_of(traceparent) is None


def test_a_process_that_records_nothing_still_passes_the_context_on() -> None:
    propagate.use(trace.NoOpTracerProvider())
    with propagate.tracer().start_as_current_span("hop", context=propagate.extract({"traceparent": TRACEPARENT})):
        assert propagate.current_traceparent() == TRACEPARENT
