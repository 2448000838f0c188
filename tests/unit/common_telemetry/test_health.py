"""Liveness and readiness, and the server that answers for them."""

from __future__ import annotations

import asyncio
import signal
import socket
from typing import TYPE_CHECKING

import httpx
import pytest
import pytest_asyncio
from starlette.applications import Starlette

from aperag_common import errors
from aperag_common.health import Health, routes
from aperag_common.http.server import HealthServer
from aperag_common.metrics import Metrics
from aperag_common.settings import HttpSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path


async def well() -> None:
    return None


async def away() -> str:
    return "not connected"


async def broken() -> None:
    message = "no route to 10.0.0.7 for aperag:secret"
    raise OSError(message)


async def gone() -> None:
    message = "the stream is not there yet"
    raise errors.UpstreamUnavailable(message)


async def stuck() -> None:
    await asyncio.Event().wait()


@pytest.fixture
def health() -> Health:
    return Health(timeout=0.05)


@pytest_asyncio.fixture
async def http(health: Health) -> AsyncIterator[httpx.AsyncClient]:
    app = Starlette(routes=routes(health, Metrics("tests")))
    async with httpx.AsyncClient(transport=httpx.ASGITransport(app), base_url="http://service") as client:
        yield client


async def test_ready_names_every_check_and_its_time(health: Health, http: httpx.AsyncClient) -> None:
    health.add("postgres", well)
    health.add("nats", well)
    answer = await http.get("/readyz")
    assert answer.status_code == 200
    body = answer.json()
    assert body["status"] == "ok"
    assert [(name, check["ok"], check["detail"]) for name, check in body["checks"].items()] == [
        ("postgres", True, None),
        ("nats", True, None),
    ]
    assert all(check["ms"] >= 0 for check in body["checks"].values())


@pytest.mark.parametrize(
    ("check", "detail"),
    [
        (away, "not connected"),
        (broken, "OSError"),
        (gone, "the stream is not there yet"),
        (stuck, "no answer within 0.05 s"),
    ],
)
async def test_a_critical_check_that_fails_makes_the_service_unready(
    health: Health, http: httpx.AsyncClient, check: object, detail: str
) -> None:
    health.add("postgres", well)
    health.add("nats", check)  # type: ignore[arg-type]
    answer = await http.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["status"] == "unavailable"
    assert answer.json()["checks"]["nats"]["detail"] == detail
    assert answer.json()["checks"]["postgres"]["ok"]
    assert "secret" not in answer.text


async def test_a_check_that_is_not_critical_only_degrades(health: Health, http: httpx.AsyncClient) -> None:
    health.add("reranker", away, critical=False)
    answer = await http.get("/readyz")
    assert (answer.status_code, answer.json()["status"]) == (200, "degraded")


async def test_checks_wait_for_their_answers_together(health: Health) -> None:
    both = asyncio.Barrier(2)

    async def meets_the_other() -> None:
        await both.wait()

    health.add("postgres", meets_the_other)
    health.add("nats", meets_the_other)
    assert (await health.report()).status == "ok"


async def test_liveness_asks_nobody(health: Health, http: httpx.AsyncClient) -> None:
    health.add("postgres", stuck)
    answer = await http.get("/livez")
    assert answer.status_code == 200


async def test_metrics_are_served_in_the_format_prometheus_asks_for(http: httpx.AsyncClient) -> None:
    answer = await http.get("/metrics")
    assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
    assert 'aperag_service_info{service="tests"} 1.0' in answer.text


def test_two_checks_cannot_share_a_name(health: Health) -> None:
    health.add("nats", well)
    with pytest.raises(ValueError, match="nats"):
        health.add("nats", away)


async def test_the_server_tells_its_port_once_it_answers(health: Health, tmp_path: Path) -> None:
    settings = HttpSettings(port_file=tmp_path / "run" / "indexer.port")
    before = signal.getsignal(signal.SIGTERM)
    server = HealthServer(settings, health, Metrics("tests"))
    await server.start()
    try:
        assert settings.port_file is not None
        port = int(settings.port_file.read_text())
        assert port == server.port > 0
        assert [path.name for path in settings.port_file.parent.iterdir()] == ["indexer.port"]
        assert signal.getsignal(signal.SIGTERM) is before
        async with httpx.AsyncClient() as client:
            assert (await client.get(f"http://127.0.0.1:{port}/livez")).status_code == 200
    finally:
        await server.stop()
    assert not settings.port_file.exists()
    with pytest.raises(ConnectionRefusedError):
        await asyncio.open_connection("127.0.0.1", port)


async def test_a_taken_port_is_an_error_and_not_the_end_of_the_process(health: Health) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        server = HealthServer(HttpSettings(port=taken.getsockname()[1]), health, Metrics("tests"))
        with pytest.raises(OSError, match="in use"):
            await server.start()
        await server.stop()


async def test_answers_are_not_held_back_by_nagles_algorithm() -> None:
    """A client would see every answer 40 ms late: head and body are two writes."""
    server = HealthServer(HttpSettings(port=0), Health(), Metrics("tests"))
    await server.start()
    try:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        writer.write(b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n")
        await reader.readuntil(b"\r\n\r\n")
        [protocol] = server._server.server_state.connections
        accepted = protocol.transport.get_extra_info("socket")
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY) == 1
        writer.close()
    finally:
        await server.stop()
