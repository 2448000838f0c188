"""POST /v1/traces: who may bring spans, in which forms, how many, and what becomes of them."""

from __future__ import annotations

import asyncio
import gzip
import json
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from google.rpc.status_pb2 import Status
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)
from pydantic import SecretStr, ValidationError
from sqlalchemy import text

from aperag_api.edge.app import make_app
from aperag_api.edge.settings import Settings
from aperag_api.operations.traces.otlp import MAX_BODY, MAX_SPANS
from aperag_api.operations.traces.reader import read_trace
from aperag_common.http.server import HttpServer
from aperag_common.settings import HttpSettings, ProcessSettings, TelemetrySettings
from aperag_common.telemetry import Gateway as SpanGateway
from aperag_common.telemetry import Telemetry, propagate
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_common.bus.connection import Bus
    from aperag_common.telemetry.record import SpanRecord
    from aperag_work.runtime import Runtime

Person = Any

TOKEN = "f3c9d1" * 8
TRACE, SPAN, PARENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331", "00f067aa0ba902b7"
PROTOBUF = "application/x-protobuf"


@pytest.fixture
def settings(settings: Settings, request: pytest.FixtureRequest) -> Settings:
    """Of a gateway that takes spans."""
    values: dict[str, Any] = {"traces_token": SecretStr(TOKEN), "otel_enabled": True}
    if "keeps_no_spans" in request.fixturenames:
        values["telemetry"] = TelemetrySettings(spans_to_nats=False)
    return settings.model_copy(update=values)


@pytest.fixture
def keeps_no_spans() -> None:
    """Asked for by a test whose gateway is one."""


@pytest_asyncio.fixture
async def http(app: FastAPI, runtime: Runtime, bus: Bus) -> AsyncIterator[httpx.AsyncClient]:
    runtime.telemetry.attach_bus(bus.nc)
    server = HttpServer(HttpSettings(port=0), app)
    await server.start()
    url = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=url, trust_env=False, timeout=30) as client:
        client.headers["authorization"] = f"Bearer {TOKEN}"
        yield client
    await server.stop()
    await runtime.telemetry.stop()


def batch(*, spans: int = 1, trace: str = TRACE) -> ExportTraceServiceRequest:
    request = ExportTraceServiceRequest()
    resource = request.resource_spans.add()
    resource.resource.attributes.add(key="service.name").value.string_value = "console"
    scope = resource.scope_spans.add()
    for number in range(spans):
        span = scope.spans.add(name="click", kind=3, start_time_unix_nano=1_000, end_time_unix_nano=2_000)
        span.trace_id = bytes.fromhex(trace)
        span.span_id = (number + 1).to_bytes(8)
        span.parent_span_id = bytes.fromhex(PARENT)
        span.status.code = 2
        span.attributes.add(key="url.query").value.string_value = "token=sk-secret"
        span.attributes.add(key="tries").value.int_value = 3
        span.links.add(trace_id=bytes.fromhex(TRACE), span_id=bytes.fromhex(SPAN))
    return request


async def post(http: httpx.AsyncClient, body: Any, kind: str = PROTOBUF, **headers: str) -> httpx.Response:
    content = body.SerializeToString() if isinstance(body, ExportTraceServiceRequest) else body
    return await http.post("/v1/traces", content=content, headers={"content-type": kind, **headers})


async def kept(bus: Bus, trace: str = TRACE) -> list[SpanRecord]:
    return await until(lambda: read_trace(bus.js, trace))


@pytest.mark.parametrize("packing", ["", "gzip"])
async def test_spans_in_protobuf_are_kept_as_the_gateways_own(http: httpx.AsyncClient, bus: Bus, packing: str) -> None:
    body = batch().SerializeToString()
    more = {"content-encoding": packing} if packing else {}
    answer = await post(http, gzip.compress(body) if packing else body, **more)
    assert (answer.status_code, answer.headers["content-type"]) == (200, PROTOBUF)
    assert not ExportTraceServiceResponse.FromString(answer.content).HasField("partial_success")
    [span] = await kept(bus)
    assert span.model_dump() == {
        "trace_id": TRACE,
        "span_id": "0000000000000001",
        "parent_id": PARENT,
        "name": "click",
        "kind": "client",
        "service": "console",
        "start": 1_000,
        "end": 2_000,
        "status": "error",
        "attributes": {"url.query": "***", "tries": 3},
        "links": ({"trace_id": TRACE, "span_id": SPAN},),
    }


async def test_spans_in_json_have_their_ids_in_hexadecimal(http: httpx.AsyncClient, bus: Bus) -> None:
    span = {
        "traceId": TRACE,
        "spanId": SPAN.upper(),
        "name": "click",
        "kind": 3,
        "startTimeUnixNano": "1000",
        "endTimeUnixNano": "2000",
        "attributes": [{"key": "list", "value": {"arrayValue": {"values": [{"boolValue": True}]}}}],
        "somethingNew": 1,
    }
    body = {"resourceSpans": [{"scopeSpans": [{"spans": [span]}]}]}
    answer = await post(http, json.dumps(body), "application/json; charset=utf-8")
    assert (answer.status_code, answer.json()) == (200, {})
    [found] = await kept(bus)
    assert (found.span_id, found.parent_id, found.service) == (SPAN, None, "unknown")
    assert found.attributes == {"list": [True]}


async def test_spans_whose_ids_cannot_be_are_counted_and_the_others_kept(http: httpx.AsyncClient, bus: Bus) -> None:
    request = batch(spans=3)
    spans = request.resource_spans[0].scope_spans[0].spans
    spans[0].trace_id, spans[1].span_id = bytes(16), b"short"
    answer = ExportTraceServiceResponse.FromString((await post(http, request)).content)
    assert answer.partial_success.rejected_spans == 2
    assert "trace id" in answer.partial_success.error_message
    assert [span.span_id for span in await kept(bus)] == ["0000000000000003"]


@pytest.mark.parametrize("shown", [None, "", "Bearer", f"Basic {TOKEN}", f"Bearer {TOKEN[:-1]}", "Bearer é", "a key"])
async def test_only_a_services_token_opens_it(
    http: httpx.AsyncClient, alice: Person, bus: Bus, shown: str | None
) -> None:
    del http.headers["authorization"]
    headers = {} if shown is None else {"authorization": f"Bearer {alice.key}" if shown == "a key" else shown}
    answer = await http.post(
        "/v1/traces",
        content=batch().SerializeToString(),
        headers=[(b"content-type", PROTOBUF.encode()), *((k.encode(), v.encode()) for k, v in headers.items())],
    )
    assert (answer.status_code, answer.headers["www-authenticate"]) == (401, "Bearer")
    assert "APERAG_TRACES_TOKEN" in Status.FromString(answer.content).message
    assert await read_trace(bus.js, TRACE) == []


async def test_a_services_token_is_no_key_of_anything_else(http: httpx.AsyncClient) -> None:
    for path in ("/api/v1/collections", f"/api/v1/traces/{TRACE}", "/v1/models"):
        assert (await http.get(path)).status_code == 401


BOMB = gzip.compress(bytes(MAX_BODY + 1))
REFUSED = {
    "no protobuf": (b"\xff\xff\xff", {}, 400),
    "no JSON": (b"{", {"content-type": "application/json"}, 400),
    "no object": (b"[1]", {"content-type": "application/json"}, 400),
    "spans that are none": (b'{"resourceSpans": {"a": 1}}', {"content-type": "application/json"}, 400),
    "without end": (b"[" * 100_000, {"content-type": "application/json"}, 400),
    "no gzip": (b"tea", {"content-encoding": "gzip"}, 400),
    "half a gzip": (gzip.compress(bytes(1000))[:-9], {"content-encoding": "gzip"}, 400),
    "another packing": (b"", {"content-encoding": "br"}, 415),
    "another type": (b"tea", {"content-type": "text/plain"}, 415),
    "too many spans": (batch(spans=MAX_SPANS + 1).SerializeToString(), {}, 413),
    "too large": (bytes(MAX_BODY + 1), {}, 413),
    "too large once unpacked": (BOMB, {"content-encoding": "gzip"}, 413),
}


@pytest.mark.parametrize("what", REFUSED)
async def test_what_is_no_batch_of_spans_is_refused_with_a_status(http: httpx.AsyncClient, bus: Bus, what: str) -> None:
    body, headers, status = REFUSED[what]
    answer = await http.post("/v1/traces", content=body, headers={"content-type": PROTOBUF, **headers})
    assert answer.status_code == status
    if answer.headers["content-type"] == PROTOBUF:
        assert Status.FromString(answer.content).message
    else:
        assert answer.json()["message"]
    assert await read_trace(bus.js, TRACE) == []


async def test_the_most_that_is_allowed_is_kept(http: httpx.AsyncClient, bus: Bus) -> None:
    assert (await post(http, batch(spans=MAX_SPANS))).status_code == 200

    async def all_of_them() -> bool:
        return len(await read_trace(bus.js, TRACE)) == MAX_SPANS

    await until(all_of_them)


async def test_a_process_without_a_bus_sends_its_spans_through_the_gateway(http: httpx.AsyncClient, bus: Bus) -> None:
    gateway = SpanGateway(str(http.base_url), SecretStr(TOKEN))
    values = ProcessSettings(_env_file=None, otlp_endpoint=None, jaeger_enabled=False, otel_enabled=True)
    telemetry = Telemetry.start(values, service="mcp", gateway=gateway)
    with propagate.tracer().start_as_current_span("tools/call search_collection") as made:
        pass
    await telemetry.stop()
    trace = f"{made.get_span_context().trace_id:032x}"
    [span] = await kept(bus, trace)
    assert (span.service, span.name) == ("mcp", "tools/call search_collection")


async def test_a_request_that_brings_spans_makes_none(http: httpx.AsyncClient, runtime: Runtime, bus: Bus) -> None:
    own = f"00-{'5' * 32}-{SPAN}-01"
    assert (await post(http, batch(), traceparent=own)).status_code == 200
    assert (await http.get("/config", headers={"traceparent": own.replace("5", "6")})).status_code == 404
    await kept(bus, "6" * 32)
    await asyncio.to_thread(runtime.telemetry.provider.force_flush)  # type: ignore[attr-defined]
    assert await read_trace(bus.js, "5" * 32) == []


@pytest.mark.parametrize("traced", [True, False])
async def test_requests_are_spans_unless_they_are_switched_off(
    runtime: Runtime, gateway: Gateway, settings: Settings, bus: Bus, *, traced: bool
) -> None:
    runtime.telemetry.attach_bus(bus.nc)
    app = make_app(gateway, runtime, settings.model_copy(update={"otel_fastapi_enabled": traced}))
    transport = httpx.ASGITransport(app)
    async with httpx.AsyncClient(transport=transport, base_url="http://tests") as client:
        answer = await client.get("/api/v1/config", headers={"traceparent": f"00-{TRACE}-{PARENT}-01"})
    assert answer.status_code == 200
    await runtime.telemetry.stop()
    requests = [span for span in await read_trace(bus.js, TRACE) if span.kind == "server"]
    assert [(it.name, it.parent_id) for it in requests] == [("GET /api/v1/config", PARENT)] * traced


async def test_who_asked_a_question_reads_its_trace(
    http: httpx.AsyncClient, alice: Person, mallory: Person, victim: Any, engine: AsyncEngine, bus: Bus
) -> None:
    async def trace_of(turn: str) -> None:
        async with engine.begin() as conn:
            changed = text("UPDATE turn SET trace_id = :trace WHERE id = :turn")
            assert (await conn.execute(changed, {"trace": TRACE, "turn": turn})).rowcount == 1

    assert (await post(http, batch())).status_code == 200
    await kept(bus)
    assert (await alice.http.get(f"/traces/{TRACE}")).status_code == 404
    await trace_of(victim.turn)
    assert [it["name"] for it in (await alice.http.get(f"/traces/{TRACE}")).json()["spans"]] == ["click"]
    assert (await mallory.http.get(f"/traces/{TRACE}")).status_code == 404
    made = await alice.http.post("/apikeys", json={"collection_ids": [victim.collection]})
    limited = {"authorization": f"Bearer {made.json()['key']}"}
    assert (await alice.http.get(f"/traces/{TRACE}", headers=limited)).status_code == 404


async def test_a_trace_of_two_peoples_questions_is_nobodys(
    http: httpx.AsyncClient, alice: Person, mallory: Person, victim: Any, engine: AsyncEngine, bus: Bus
) -> None:
    assert (await post(http, batch())).status_code == 200
    await kept(bus)
    bot = (await mallory.http.post("/bots", json={"title": "mine"})).json()["id"]
    chat = (await mallory.http.post(f"/bots/{bot}/chats", json={"title": "mine"})).json()["id"]
    asked = await mallory.http.post(f"/bots/{bot}/chats/{chat}/turns", json={"query": "tea?"})
    assert asked.status_code == 202
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE turn SET trace_id = :trace"), {"trace": TRACE})
    for person in (alice, mallory):
        assert (await person.http.get(f"/traces/{TRACE}")).status_code == 404


async def test_no_audit_log_fills_with_it(http: httpx.AsyncClient, engine: AsyncEngine) -> None:
    assert (await post(http, batch())).status_code == 200
    assert (await post(http, batch(), authorization="Bearer nobody")).status_code == 401
    async with engine.connect() as conn:
        assert (await conn.execute(text("SELECT count(*) FROM audit_log"))).scalar_one() == 0


@pytest.mark.usefixtures("keeps_no_spans")
async def test_a_gateway_that_keeps_no_spans_says_so(http: httpx.AsyncClient) -> None:
    answer = ExportTraceServiceResponse.FromString((await post(http, batch())).content)
    assert answer.partial_success.rejected_spans == 1
    assert "keeps no spans" in answer.partial_success.error_message


@pytest.mark.parametrize("token", ["short", "change-me-please-this-is-a-placeholder"])
def test_a_token_that_can_be_guessed_is_refused_by_its_name(token: str) -> None:
    with pytest.raises(ValidationError, match="APERAG_TRACES_TOKEN"):
        Settings(_env_file=None, traces_token=token)
