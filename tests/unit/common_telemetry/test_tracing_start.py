"""Which way spans leave a process, by its settings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider

from aperag_common.settings import ServiceSettings, TelemetrySettings
from aperag_common.telemetry import Telemetry, propagate
from aperag_common.telemetry.tracing import collector, traces_url
from aperag_common.version import VERSION


@pytest.fixture(autouse=True)
def no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "OTEL_SERVICE_NAME",
        "OTEL_SERVICE_VERSION",
        "OTEL_CONSOLE_ENABLED",
        "OTEL_ENABLED",
        "OTEL_EXPORTER_OTLP_ENDPOINT",
        "JAEGER_ENABLED",
        "JAEGER_ENDPOINT",
    ):
        monkeypatch.delenv(name, raising=False)


def make_settings(**values: Any) -> ServiceSettings:
    return ServiceSettings(_env_file=None, **values)


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({}, None),
        ({"otlp_endpoint": "http://collector:4318"}, "http://collector:4318/v1/traces"),
        ({"jaeger_endpoint": "http://jaeger:4318"}, None),
        ({"jaeger_enabled": True}, None),
        ({"jaeger_enabled": True, "jaeger_endpoint": "http://jaeger:4318/"}, "http://jaeger:4318/v1/traces"),
        (
            {"otlp_endpoint": "http://collector:4318", "jaeger_enabled": True, "jaeger_endpoint": "http://jaeger:4318"},
            "http://collector:4318/v1/traces",
        ),
    ],
)
def test_a_collector_is_used_when_settings_name_one(values: dict[str, Any], expected: str | None) -> None:
    assert collector(make_settings(**values)) == expected


def test_an_address_that_already_names_the_signal_is_left_alone() -> None:
    assert traces_url("http://collector:4318/v1/traces") == "http://collector:4318/v1/traces"


async def test_switched_off_nothing_is_recorded() -> None:
    telemetry = Telemetry.start(make_settings(otel_enabled=False), service="indexer")
    with propagate.tracer().start_as_current_span("process") as span:
        assert not span.is_recording()
    await telemetry.stop()


async def test_spans_are_made_between_start_and_stop_and_not_after() -> None:
    settings = make_settings(instance="one", telemetry=TelemetrySettings(spans_to_nats=False))
    telemetry = Telemetry.start(settings, service="indexer")
    assert isinstance(telemetry.provider, TracerProvider)
    assert telemetry.provider.resource.attributes["service.name"] == "aperag-indexer"
    assert telemetry.provider.resource.attributes["service.instance.id"] == "one"
    with propagate.tracer().start_as_current_span("process") as span:
        assert span.is_recording()
    await telemetry.stop()
    with propagate.tracer().start_as_current_span("process") as span:
        assert not span.is_recording()


async def test_a_second_start_in_one_process_records_again() -> None:
    settings = make_settings(telemetry=TelemetrySettings(spans_to_nats=False))
    for _ in range(2):
        telemetry = Telemetry.start(settings, service="indexer")
        with propagate.tracer().start_as_current_span("process") as span:
            assert span.is_recording()
        await telemetry.stop()
    assert isinstance(trace.get_tracer_provider(), trace.ProxyTracerProvider)


async def test_spans_that_never_met_a_connection_are_counted_as_dropped() -> None:
    telemetry = Telemetry.start(make_settings(), service="indexer")
    with propagate.tracer().start_as_current_span("process"):
        pass
    await telemetry.stop()
    assert telemetry.dropped == 1


QUIET = TelemetrySettings(spans_to_nats=False)


async def test_an_installation_gives_its_name_to_all_its_services(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "acme")
    monkeypatch.setenv("OTEL_SERVICE_VERSION", "2.7")
    names = []
    for service in ("api", "mcp"):
        telemetry = Telemetry.start(make_settings(telemetry=QUIET), service=service)
        assert isinstance(telemetry.provider, TracerProvider)
        told = telemetry.provider.resource.attributes
        names.append((told["service.namespace"], told["service.name"], told["service.version"]))
        await telemetry.stop()
    assert names == [("acme", "acme-api", "2.7"), ("acme", "acme-mcp", "2.7")]


async def test_without_names_of_its_own_it_is_called_as_its_package(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OTEL_SERVICE_NAME", "")
    telemetry = Telemetry.start(make_settings(telemetry=QUIET), service="api")
    assert isinstance(telemetry.provider, TracerProvider)
    told = telemetry.provider.resource.attributes
    assert (told["service.name"], told["service.version"]) == ("aperag-api", VERSION)
    await telemetry.stop()


async def test_on_the_console_a_span_is_a_line_on_standard_error(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("OTEL_CONSOLE_ENABLED", "true")
    telemetry = Telemetry.start(make_settings(telemetry=QUIET), service="indexer")
    with propagate.tracer().start_as_current_span("process", attributes={"url.query": "token=geheim"}):
        pass
    await telemetry.stop()
    printed = capfd.readouterr()
    assert printed.out == ""
    span = json.loads(printed.err)
    assert (span["name"], span["service"], span["attributes"]) == ("process", "indexer", {"url.query": "***"})


async def test_nothing_is_printed_unless_it_is_asked_for(capfd: pytest.CaptureFixture[str]) -> None:
    telemetry = Telemetry.start(make_settings(telemetry=QUIET), service="indexer")
    with propagate.tracer().start_as_current_span("process"):
        pass
    await telemetry.stop()
    assert capfd.readouterr() == ("", "")
