"""Log lines of every origin in one shape."""

from __future__ import annotations

import json
import logging
from typing import TYPE_CHECKING, Any

import pytest
import structlog
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from aperag_common import logs

if TYPE_CHECKING:
    from collections.abc import Iterator

log = structlog.get_logger("aperag_indexer.parsing")


@pytest.fixture(autouse=True)
def restored() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)
    logging.captureWarnings(capture=False)
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


def lines(capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    captured = capsys.readouterr()
    assert captured.out == ""
    return [json.loads(line) for line in captured.err.splitlines()]


def test_an_event_carries_service_fields_and_bound_context(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True, service="indexer")
    structlog.contextvars.bind_contextvars(document_id="doc1")
    log.info("document.parsed", pages=3)
    (line,) = lines(capsys)
    assert line.pop("timestamp").endswith("Z")
    assert line == {
        "event": "document.parsed",
        "level": "info",
        "logger": "aperag_indexer.parsing",
        "service": "indexer",
        "document_id": "doc1",
        "pages": 3,
    }


def test_a_line_inside_a_span_names_trace_and_span(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True, service="indexer")
    with TracerProvider(shutdown_on_exit=False).get_tracer("tests").start_as_current_span("process") as span:
        log.info("document.parsed")
        logging.getLogger("nats").warning("slow consumer")
    context = span.get_span_context()
    for line in lines(capsys):
        assert line["trace_id"] == trace.format_trace_id(context.trace_id)
        assert line["span_id"] == trace.format_span_id(context.span_id)


@pytest.mark.parametrize("name", ["uvicorn.error", "sqlalchemy.pool", "nats", "faststream", "faststream.access.nats"])
def test_a_library_speaks_once_in_our_shape(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    noisy = logging.getLogger(name)
    noisy.addHandler(logging.StreamHandler())
    noisy.propagate = False
    logs.configure("INFO", json=True, service="api")
    noisy.warning("lost %s", "it")
    written = lines(capsys)
    assert [(line["event"], line["logger"], line["service"]) for line in written] == [("lost it", name, "api")]


def test_an_exception_is_one_line_with_its_stack(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True, service="indexer")
    nothing: dict[str, str] = {}
    try:
        _ = nothing["missing"]
    except KeyError:
        log.exception("step.failed")
        logging.getLogger("nats").exception("callback failed")
    for line in lines(capsys):
        assert "KeyError: 'missing'" in line["exception"]


def test_lines_below_the_level_and_chatter_of_libraries_are_not_written(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", json=True, service="indexer")
    log.debug("step.claimed")
    logging.getLogger("sqlalchemy.engine").info("SELECT 1")
    logging.getLogger("uvicorn.access").info("GET /readyz")
    assert lines(capsys) == []


def test_configuring_twice_does_not_write_twice(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=True, service="indexer")
    logs.configure("INFO", json=True, service="indexer")
    log.info("document.parsed")
    assert len(lines(capsys)) == 1


def test_a_person_reads_text(capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("INFO", json=False, service="indexer")
    log.info("document.parsed", pages=3)
    written = capsys.readouterr().err
    assert "document.parsed" in written
    assert "pages=3" in written
    assert "\x1b" not in written
