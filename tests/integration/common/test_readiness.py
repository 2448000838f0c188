"""``/readyz`` of a worker on the real server: consumer gone, starved or merely busy, NATS away."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from prometheus_client.parser import text_string_to_metric_families
from pydantic import BaseModel

from aperag_common import subjects
from aperag_common.bus import liveness, topology
from aperag_common.bus.declared import Declared
from aperag_common.bus.worker import Worker
from aperag_common.health import Health
from aperag_common.http.server import HealthServer
from aperag_common.settings import HttpSettings
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.delivery import Delivery
    from aperag_common.metrics import Metrics
    from aperag_standalone.nats import NatsServer

CONSUMER = "indexer-parse"


class Job(BaseModel):
    number: int


@asynccontextmanager
async def serving(
    bus: Bus, metrics: Metrics, handle: Callable[[Job], Awaitable[None]], *, slots: int = 2
) -> AsyncIterator[httpx.AsyncClient]:
    """A worker as the indexer has one, behind the server that answers for it."""

    async def poison(_: Delivery, err: Exception) -> None:
        raise err

    async def connected() -> str | None:
        return None if bus.connected else "not connected"

    worker = Worker(bus, Declared(), metrics, poison)
    worker.subscribe(CONSUMER, Job, handle, slots=slots)
    health = Health()
    health.add("nats", connected)
    health.add("consumers", worker.moving)
    server = HealthServer(HttpSettings(port=0), health, metrics)
    await server.start()
    await worker.start()
    base = f"http://127.0.0.1:{server.port}"
    async with httpx.AsyncClient(base_url=base, timeout=20, trust_env=False) as client:
        yield client
    await worker.stop()
    await server.stop()


async def done(_: Job) -> None:
    return None


async def until_ready(http: httpx.AsyncClient) -> None:
    async def ready() -> bool:
        return (await http.get("/readyz")).status_code == 200

    await until(ready)


async def until_unready(http: httpx.AsyncClient, check: str, says: str) -> None:
    async def unready() -> bool:
        answer = await http.get("/readyz")
        return answer.status_code == 503 and says in str(answer.json()["checks"][check]["detail"])

    await until(unready)


async def publish(bus: Bus) -> None:
    await bus.js.publish(subjects.PARSE_DOCUMENT, b'{"number": 1}', stream=subjects.COMMANDS)


async def pause(bus: Bus, until_: str) -> None:
    """The server delivers nothing of what waits; a time that is past ends that."""
    subject = f"$JS.API.CONSUMER.PAUSE.{subjects.COMMANDS}.{CONSUMER}"
    answer = await bus.nc.request(subject, json.dumps({"pause_until": until_}).encode(), timeout=5)
    assert "error" not in json.loads(answer.data)


async def test_a_consumer_that_was_deleted_is_named_until_it_is_back(bus: Bus, metrics: Metrics) -> None:
    async with serving(bus, metrics, done) as http:
        await until_ready(http)
        await bus.js.delete_consumer(subjects.COMMANDS, CONSUMER)
        await until_unready(http, "consumers", f"consumer {CONSUMER} is not bound")
        await topology.apply(bus.js)
        await until_ready(http)


async def test_a_worker_without_nats_is_not_ready_and_becomes_so_by_itself(
    bus: Bus, metrics: Metrics, nats_server: NatsServer
) -> None:
    async with serving(bus, metrics, done) as http:
        await until_ready(http)
        nats_server.kill()
        await until_unready(http, "nats", "not connected")
        assert (await http.get("/livez")).status_code == 200
        nats_server.start()
        await until_ready(http)


async def test_a_worker_that_gets_nothing_of_what_waits_is_not_ready(
    bus: Bus, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "STALLED_SECONDS", 2.0)
    monkeypatch.setattr(liveness, "LOOK_SECONDS", 0.1)
    handled = asyncio.Event()

    async def handle(_: Job) -> None:
        handled.set()

    async with serving(bus, metrics, handle) as http:
        await until_ready(http)
        await pause(bus, "2999-01-01T00:00:00Z")
        await publish(bus)
        await until_unready(http, "consumers", "messages wait")
        await pause(bus, "2000-01-01T00:00:00Z")
        await handled.wait()
        await until_ready(http)


async def test_a_worker_whose_slots_are_all_busy_is_ready_however_long_it_takes(
    bus: Bus, metrics: Metrics, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(liveness, "STALLED_SECONDS", 0.2)
    monkeypatch.setattr(liveness, "LOOK_SECONDS", 0.05)
    started, free = asyncio.Event(), asyncio.Event()

    async def handle(_: Job) -> None:
        started.set()
        await free.wait()

    async with serving(bus, metrics, handle, slots=1) as http:
        for _ in range(3):
            await publish(bus)
        await started.wait()
        clock = asyncio.get_running_loop().time
        over = clock() + 5 * liveness.STALLED_SECONDS
        while clock() < over:
            assert (await http.get("/readyz")).status_code == 200
        free.set()


def value(answer: httpx.Response, name: str, **labels: str) -> Any:
    families = text_string_to_metric_families(answer.text)
    samples = [sample for family in families for sample in family.samples]
    return next((it.value for it in samples if it.name == name and it.labels == labels), None)


async def test_metrics_tell_readiness_and_load(bus: Bus, metrics: Metrics, nats_server: NatsServer) -> None:
    async with serving(bus, metrics, done) as http:
        await until_ready(http)
        scraped = await http.get("/metrics")
        assert value(scraped, "aperag_ready") == 1
        assert value(scraped, "aperag_check_ok", check="consumers") == 1
        assert value(scraped, "aperag_worker_slots", consumer=CONSUMER) == 2
        assert value(scraped, "aperag_worker_busy_slots", consumer=CONSUMER) == 0
        await publish(bus)

        async def counted() -> bool:
            lag = value(await http.get("/metrics"), "aperag_delivery_lag_seconds_count", consumer=CONSUMER)
            return bool(lag == 1)

        await until(counted)
        nats_server.kill()
        await until_unready(http, "nats", "not connected")
        scraped = await http.get("/metrics")
        assert (value(scraped, "aperag_ready"), value(scraped, "aperag_check_ok", check="nats")) == (0, 0)
