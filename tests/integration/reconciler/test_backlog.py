"""What the reconciler measures of everybody's work, for alerts and the dashboard."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common.bus import topology
from aperag_common.db.models.base import Lane
from aperag_reconciler.backlog.observe import Backlog
from aperag_testing.factories import make_collection, make_upload, make_user
from aperag_testing.waiting import until
from aperag_work.heartbeat import Heartbeat
from aperag_work.opening import Admission

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_standalone.nats import NatsServer


@pytest.fixture
def backlog(bus: Bus, engine: AsyncEngine, metrics: Metrics) -> Backlog:
    return Backlog(bus, engine, metrics)


def shown(metrics: Metrics, name: str) -> dict[tuple[str, ...], float]:
    """Values by labels, in their order."""
    families = metrics.registry.collect()
    return {tuple(it.labels.values()): it.value for family in families for it in family.samples if it.name == name}


async def execute(engine: AsyncEngine, sql: str, **parameters: Any) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql), parameters)


async def test_open_work_is_counted_by_consumer_and_state(
    backlog: Backlog, engine: AsyncEngine, metrics: Metrics
) -> None:
    admission = Admission(Lane.BULK, in_flight_per_owner=1, first_due=timedelta(seconds=60))
    async with engine.begin() as conn:
        collection = await make_collection(conn)
        for _ in range(3):
            await make_upload(conn, collection_id=collection, admission=admission)
    await backlog.measure()
    steps = shown(metrics, "aperag_open_steps")
    assert steps["indexer-parse", "waiting"] == 2
    assert steps["indexer-parse", "queued"] == 1
    assert steps["indexer-vector", "blocked"] == 3
    assert shown(metrics, "aperag_waiting_documents") == {("bulk",): 2}
    assert shown(metrics, "aperag_open_tasks") == {("upload",): 3}
    assert shown(metrics, "aperag_outbox_unrelayed_events")[()] > 0
    assert shown(metrics, "aperag_oldest_unrelayed_age_seconds")[()] > 0
    await execute(engine, "DELETE FROM document")
    await execute(engine, "UPDATE workflow SET status = 'CANCELLED', finished = now()")
    await backlog.measure()
    # A series that ends says so: what is gone must not be shown as it was for ever.
    assert set(shown(metrics, "aperag_open_steps").values()) == {0}
    assert shown(metrics, "aperag_open_tasks") == {("upload",): 0}


async def test_lost_and_failed_work_is_counted(backlog: Backlog, engine: AsyncEngine, metrics: Metrics) -> None:
    async with engine.begin() as conn:
        await make_upload(conn)
    overdue = "UPDATE job SET due_at = clock_timestamp() - interval '1 h' WHERE kind = 'parse'"
    await execute(engine, overdue)
    await execute(engine, "UPDATE job SET status = 'FAILED' WHERE kind = 'index.vector'")
    await backlog.measure()
    assert shown(metrics, "aperag_oldest_due_age_seconds")[()] >= 3600
    assert shown(metrics, "aperag_failed_steps")["indexer-vector",] == 1


async def test_a_service_that_is_not_there_reads_zero(backlog: Backlog, engine: AsyncEngine, metrics: Metrics) -> None:
    await Heartbeat(engine, "indexer", "indexer-1", list).beat()
    await Heartbeat(engine, "indexer", "indexer-2", list).beat()
    old = "UPDATE service_instance SET seen = clock_timestamp() - interval '1 min' WHERE instance = 'indexer-2'"
    await execute(engine, old)
    await backlog.measure()
    counted = shown(metrics, "aperag_service_instances")
    assert {service: counted[service,] for service in ("api", "indexer", "reconciler")} == {
        "api": 0,
        "indexer": 1,
        "reconciler": 0,
    }


async def test_the_webhooks_service_is_missed_only_where_there_is_a_webhook(
    backlog: Backlog, engine: AsyncEngine, metrics: Metrics, bus: Bus
) -> None:
    await bus.js.publish("aperag.evt.user1.document.uploaded", b"{}")
    await backlog.measure()
    assert ("webhooks",) not in shown(metrics, "aperag_service_instances")
    assert shown(metrics, "aperag_consumer_pending_messages")["webhooks-events",] == 0
    async with engine.begin() as conn:
        owner = await make_user(conn)
    endpoint = "INSERT INTO webhook_endpoint (id, owner, url, types, secret) VALUES ('wh', '{}', 'https://a.example', '{{}}', 's')"
    await execute(engine, endpoint.format(owner))
    await backlog.measure()
    assert shown(metrics, "aperag_service_instances")["webhooks",] == 0
    assert shown(metrics, "aperag_consumer_pending_messages")["webhooks-events",] == 1
    await execute(engine, "DELETE FROM webhook_endpoint")
    await backlog.measure()
    assert ("webhooks",) not in shown(metrics, "aperag_service_instances")


async def test_every_stream_and_consumer_is_measured(backlog: Backlog, metrics: Metrics) -> None:
    await backlog.measure()
    streams = {(stream.name,) for stream in topology.streams()}
    consumers = {(spec.name,) for stream in topology.streams() for spec in stream.consumers}
    assert set(shown(metrics, "aperag_stream_bytes")) == streams
    assert set(shown(metrics, "aperag_consumer_pending_messages")) == consumers


async def test_measuring_outlasts_a_server_that_is_away(
    backlog: Backlog, engine: AsyncEngine, metrics: Metrics, nats_server: NatsServer
) -> None:
    nats_server.kill()
    await Heartbeat(engine, "indexer", "indexer-1", list).beat()
    measuring = asyncio.create_task(backlog.run(0.1))

    async def measured() -> bool:
        return shown(metrics, "aperag_service_instances").get(("indexer",)) == 1

    await until(measured)
    assert not measuring.done()
    measuring.cancel()
    await asyncio.wait({measuring})
