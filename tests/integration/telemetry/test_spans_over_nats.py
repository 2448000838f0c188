"""Spans from a service through the real stream to the person who reads the trace."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import nats
import pytest
import pytest_asyncio
from opentelemetry.trace import SpanKind
from sqlalchemy import text

from aperag_api.operations.traces.reader import read_trace
from aperag_common import errors, subjects
from aperag_common.bus import topology
from aperag_common.bus.connection import connect
from aperag_common.bus.permissions import Permissions
from aperag_common.services import Service
from aperag_common.settings import NatsSettings, PostgresSettings, ServiceSettings
from aperag_common.telemetry import Telemetry, init_sqlalchemy_instrumentation, propagate
from aperag_common.telemetry.record import SPANS
from aperag_standalone.nats import NatsServer, NkeyUser, make_keys, users_of
from aperag_work.runtime import open_runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from nats.aio.client import Client
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.telemetry.record import SpanRecord

PATIENCE = 10.0
WHOLE = ["process aperag.cmd.document.parse", "parse", "publish aperag.cmd.index.build.vector"]


def settings(**values: Any) -> ServiceSettings:
    return ServiceSettings(_env_file=None, otlp_endpoint=None, jaeger_enabled=False, **values)


@pytest_asyncio.fixture
async def telemetry() -> AsyncIterator[Telemetry]:
    telemetry = Telemetry.start(settings(otel_enabled=True, otel_sqlalchemy_enabled=True), service="indexer")
    yield telemetry
    await telemetry.stop()


def make_trace() -> str:
    """A span with two children; answers the trace id."""
    tracer = propagate.tracer()
    with tracer.start_as_current_span("process aperag.cmd.document.parse", kind=SpanKind.CONSUMER) as root:
        for name in ("parse", "publish aperag.cmd.index.build.vector"):
            with tracer.start_as_current_span(name):
                pass
    return f"{root.get_span_context().trace_id:032x}"


def names(spans: list[SpanRecord]) -> list[str]:
    return [span.name for span in spans]


async def until_on_stream(bus: Bus, trace_id: str, last: str = WHOLE[0]) -> None:
    """Returns once the span that ended last has arrived, also when it came before the call."""
    subscription = await bus.js.subscribe(subjects.span(trace_id), stream=subjects.SPANS, ordered_consumer=True)
    while f'"name":"{last}"' not in (await subscription.next_msg(timeout=PATIENCE)).data.decode():
        pass
    await subscription.unsubscribe()


async def test_a_trace_is_read_in_order_right_after_it_happened(telemetry: Telemetry, bus: Bus) -> None:
    telemetry.attach_bus(bus.nc)
    trace_id = make_trace()
    async with asyncio.timeout(2):
        await until_on_stream(bus, trace_id)
    spans = await read_trace(bus.js, trace_id)
    assert names(spans) == WHOLE
    root, *children = spans
    assert root.parent_id is None
    assert {child.parent_id for child in children} == {root.span_id}
    assert {span.service for span in spans} == {"indexer"}
    assert root.kind == "consumer"


async def test_spans_made_before_the_connection_arrive_after_it(telemetry: Telemetry, bus: Bus) -> None:
    trace_id = make_trace()
    await asyncio.to_thread(telemetry.provider.force_flush)  # type: ignore[attr-defined]
    assert await read_trace(bus.js, trace_id) == []
    telemetry.attach_bus(bus.nc)
    await until_on_stream(bus, trace_id)
    assert names(await read_trace(bus.js, trace_id)) == WHOLE


async def test_stopping_sends_what_is_left(bus: Bus) -> None:
    telemetry = Telemetry.start(settings(), service="indexer")
    telemetry.attach_bus(bus.nc)
    trace_id = make_trace()
    await telemetry.stop()
    assert names(await read_trace(bus.js, trace_id)) == WHOLE
    assert telemetry.dropped == 0


async def test_spans_of_several_services_and_a_repeated_message_are_one_trace(bus: Bus) -> None:
    indexer = Telemetry.start(settings(), service="indexer")
    indexer.attach_bus(bus.nc)
    with propagate.tracer().start_as_current_span("publish aperag.cmd.document.parse") as sent:
        headers = propagate.inject()
    await indexer.stop()
    reconciler = Telemetry.start(settings(), service="reconciler")
    reconciler.attach_bus(bus.nc)
    with propagate.tracer().start_as_current_span("process it", context=propagate.extract(headers)):
        pass
    await reconciler.stop()
    trace_id = f"{sent.get_span_context().trace_id:032x}"
    repeated = await bus.js.get_last_msg(subjects.SPANS, subjects.span(trace_id))
    await bus.js.publish(subjects.span(trace_id), b"not a span")
    await bus.js.publish(subjects.span(trace_id), repeated.data or b"")

    spans = await read_trace(bus.js, trace_id)
    assert [(span.service, span.name) for span in spans] == [
        ("indexer", "publish aperag.cmd.document.parse"),
        ("reconciler", "process it"),
    ]
    assert spans[1].parent_id == spans[0].span_id


class Connection:
    """A client that says when its server went away and came back."""

    def __init__(self) -> None:
        self.gone, self.back = asyncio.Event(), asyncio.Event()

    async def open(self, url: str) -> Client:
        async def on_gone() -> None:
            self.gone.set()

        async def on_back() -> None:
            self.back.set()

        return await nats.connect(
            url,
            disconnected_cb=on_gone,
            reconnected_cb=on_back,
            reconnect_time_wait=0.05,
            max_reconnect_attempts=-1,
        )


async def test_spans_made_while_nats_is_away_arrive_when_it_is_back(
    telemetry: Telemetry, nats_server: NatsServer
) -> None:
    connection = Connection()
    nc = await connection.open(nats_server.url)
    # Not the stream: it lives in memory and is empty after the crash, until its owner makes it again.
    arrived = await nc.subscribe(subjects.ALL_SPANS)
    telemetry.attach_bus(nc)
    nats_server.kill()
    await asyncio.wait_for(connection.gone.wait(), PATIENCE)
    make_trace()
    await asyncio.to_thread(telemetry.provider.force_flush)  # type: ignore[attr-defined]

    nats_server.start()
    await asyncio.wait_for(connection.back.wait(), PATIENCE)
    message = await arrived.next_msg(timeout=PATIENCE)
    assert sorted(names(SPANS.validate_json(message.data))) == sorted(WHOLE)
    assert telemetry.dropped == 0
    await nc.close()


async def test_stopping_while_nats_is_away_counts_the_spans_and_leaves_the_buffer_to_commands(
    nats_server: NatsServer,
) -> None:
    connection = Connection()
    nc = await connection.open(nats_server.url)
    telemetry = Telemetry.start(settings(), service="indexer")
    telemetry.attach_bus(nc)
    nats_server.kill()
    await asyncio.wait_for(connection.gone.wait(), PATIENCE)
    make_trace()
    async with asyncio.timeout(2):
        await telemetry.stop()
    assert telemetry.dropped == len(WHOLE)
    assert nc.pending_data_size == 0
    await nc.close()


async def test_a_statement_in_a_span_is_a_span_of_the_same_trace(
    telemetry: Telemetry, bus: Bus, engine: AsyncEngine
) -> None:
    init_sqlalchemy_instrumentation(engine, tracer_provider=telemetry.provider)
    telemetry.attach_bus(bus.nc)
    async with engine.connect() as conn:
        await conn.execute(text("SELECT 'a poll outside any span'"))
    with propagate.tracer().start_as_current_span("process") as root:
        async with engine.connect() as conn:
            await conn.execute(text("SELECT 'the text of a document'"))
    trace_id = f"{root.get_span_context().trace_id:032x}"
    await until_on_stream(bus, trace_id, last="process")

    spans = await read_trace(bus.js, trace_id)
    (statement,) = [span for span in spans if span.name.startswith("SELECT")]
    assert statement.parent_id == f"{root.get_span_context().span_id:016x}"
    assert statement.attributes == {"db.operation": "SELECT"}
    assert statement.end > statement.start
    assert "the text of a document" not in statement.model_dump_json()
    info = await bus.js.stream_info(subjects.SPANS, subjects_filter=subjects.ALL_SPANS)
    assert set(info.state.subjects or {}) == {subjects.span(trace_id)}


@pytest.mark.parametrize(
    ("switch", "made"), [({}, ["process", "SELECT"]), ({"otel_sqlalchemy_enabled": False}, ["process"])]
)
async def test_statements_of_a_service_are_spans_unless_they_are_switched_off(
    bus: Bus, nats_server: NatsServer, engine: AsyncEngine, switch: dict[str, bool], made: list[str]
) -> None:
    postgres = PostgresSettings(url=engine.url.render_as_string(hide_password=False))
    values = settings(nats=NatsSettings(url=nats_server.url), postgres=postgres, **switch)
    async with open_runtime(values, service="indexer") as runtime:
        with propagate.tracer().start_as_current_span("process") as root:
            async with runtime.engine.connect() as conn:
                await conn.execute(text("SELECT 1"))
    spans = await read_trace(bus.js, f"{root.get_span_context().trace_id:032x}")
    assert [name.split()[0] for name in names(spans)] == made


@pytest.mark.parametrize("trace_id", ["*", ">", "", "a" * 31, "A" * 32, f"{'a' * 32}\n", "a" * 31 + "."])
async def test_only_a_whole_trace_id_is_read(bus: Bus, trace_id: str) -> None:
    await bus.js.publish(subjects.span("b" * 32), b"[]")
    with pytest.raises(errors.InvalidParameter):
        await read_trace(bus.js, trace_id)


async def test_an_unknown_trace_is_empty_and_a_missing_stream_is_an_outage(nats_server: NatsServer) -> None:
    bus = await connect(NatsSettings(url=nats_server.url), service="tests", instance="tests")
    with pytest.raises(errors.UpstreamUnavailable):
        await read_trace(bus.js, "a" * 32)
    await topology.apply(bus.js)
    assert await read_trace(bus.js, "a" * 32) == []
    await bus.close()


async def test_reading_needs_no_more_than_direct_gets(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    seeds = make_keys(tmp_path)
    users = users_of(seeds)
    inbox = "_INBOX_api"
    reader = users[Service.API]
    users[Service.API] = NkeyUser(
        reader.public, Permissions((f"$JS.API.DIRECT.GET.{subjects.SPANS}",), (f"{inbox}.>",))
    )
    refused: list[Exception] = []

    async def on_error(err: Exception) -> None:
        refused.append(err)

    with NatsServer(tmp_path_factory.mktemp("nats"), users=users) as server:
        owner = NatsSettings(url=server.url, seed_file=seeds[Service.RECONCILER])
        bus = await connect(owner, service=Service.RECONCILER, instance="tests")
        await topology.apply(bus.js)
        telemetry = Telemetry.start(settings(), service="reconciler")
        telemetry.attach_bus(bus.nc)
        trace_id = make_trace()
        await telemetry.stop()
        seed = seeds[Service.API].read_text().strip()
        nc = await nats.connect(server.url, nkeys_seed_str=seed, inbox_prefix=inbox, error_cb=on_error)
        assert names(await read_trace(nc.jetstream(), trace_id)) == WHOLE
        await nc.close()
        await bus.close()
    assert refused == []
