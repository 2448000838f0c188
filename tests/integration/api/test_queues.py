"""What operators see of all queues at once, and that only they see it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus import topology
from aperag_common.bus.worker import ConsumerLoad
from aperag_testing.steps import Steps
from aperag_testing.waiting import until
from aperag_work.heartbeat import Heartbeat

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_standalone.nats import NatsServer
    from aperag_work.engine import Engine

Person = Any
Indexer = Any


async def execute(engine: AsyncEngine, sql: str, **parameters: Any) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql), parameters)


@pytest.fixture
async def admin(make_person: Callable[..., Awaitable[Person]]) -> Person:
    return await make_person("admin")


@pytest.fixture
def steps(engine: AsyncEngine, make_worker: Callable[[str], Engine]) -> Steps:
    return Steps(engine, make_worker("indexer-2"))


async def queues(admin: Person) -> dict[str, Any]:
    answer = await admin.http.get("/admin/queues")
    assert answer.status_code == 200, answer.text
    return dict(answer.json())


def consumer(told: dict[str, Any], name: str) -> dict[str, Any]:
    return next(it for it in told["consumers"] if it["name"] == name)


def failing(failure: Exception) -> Callable[..., Awaitable[None]]:
    async def during(_: object) -> None:
        raise failure

    return during


async def test_only_administrators_see_the_queues(alice: Person) -> None:
    assert (await alice.http.get("/admin/queues")).status_code == 403


async def test_every_consumer_and_stream_is_told_of_also_without_work(admin: Person) -> None:
    told = await queues(admin)
    assert {it["name"] for it in told["consumers"]} == {
        # Nobody looks at events or deliveries where there is no webhook.
        spec.name
        for stream in topology.streams()
        for spec in stream.consumers
        if spec.service != "webhooks"
    }
    assert {it["name"] for it in told["streams"]} == {stream.name for stream in topology.streams()}
    assert (told["nats"], told["running"], told["workers"], told["tasks"]) == (None, [], [], [])


@pytest.mark.parametrize("settings", [{"work": {"in_flight_per_owner": 2}}], indirect=True)
async def test_work_is_counted_where_it_stands(admin: Person, alice: Person, steps: Steps) -> None:
    collection = await alice.collection()
    documents = [await alice.uploaded(collection, f"{n}.txt", "tea") for n in range(4)]

    async def ready() -> bool:  # a publish is best effort and after the answer
        return bool(consumer(await queues(admin), "indexer-parse")["ready"] == 2)

    await until(ready)
    told: dict[str, Any] = {}

    async def during(_: object) -> None:
        told.update(await queues(admin))

    await steps.work(await steps.command(documents[0]["id"]), during=during)
    parse = consumer(told, "indexer-parse")
    assert (parse["waiting"], parse["queued"], parse["running"]) == ({"interactive": 2}, 1, 1)
    assert consumer(told, "indexer-vector")["blocked"] == 4
    [running] = told["running"]
    assert (running["worker"], running["document_id"], running["name"]) == ("indexer-2", documents[0]["id"], "0.txt")
    assert running["consumer"] == "indexer-parse"
    assert told["tasks"][0]["tasks"] == 4
    after = await queues(admin)
    assert after["running"] == []
    assert consumer(after, "indexer-parse")["done_per_minute"] == 0.2  # one within five minutes
    assert consumer(after, "indexer-vector")["blocked"] == 3


async def test_failures_and_retries_are_counted(admin: Person, alice: Person, steps: Steps) -> None:
    collection = await alice.collection()
    for name, failure in {"a": errors.UnsupportedMedia("no reader"), "b": errors.UpstreamUnavailable("away")}.items():
        document = await alice.uploaded(collection, f"{name}.txt", name)
        await steps.work(await steps.command(document["id"]), during=failing(failure))
    told = await queues(admin)
    parse = consumer(told, "indexer-parse")
    assert (parse["failed"], parse["retrying"], parse["failed_per_minute"]) == (1, 1, 0.2)
    # The builds that waited for the failed parse fell with it.
    assert consumer(told, "indexer-vector")["failed"] == 1
    assert told["open_dead_letters"] == 1


async def test_how_long_jobs_took_is_that_of_those_that_ended_in_the_last_minutes(
    admin: Person, alice: Person, indexer: Indexer, engine: AsyncEngine
) -> None:
    collection = await alice.collection()
    documents = [(await alice.uploaded(collection, f"{n}.txt", "tea"))["id"] for n in range(5)]
    for number, document in enumerate(documents):
        await indexer.settle(document, "tea", kinds=("parse",))
        await execute(
            engine,
            "UPDATE job SET started_at = settled_at - make_interval(secs => :n) WHERE subject_id = :id AND kind = 'parse'",
            n=number + 1,
            id=document,
        )
    earlier, again = documents[3:]
    await execute(engine, "UPDATE job SET settled_at = now() - interval '1 h' WHERE subject_id = :id", id=earlier)
    await alice.http.post(
        f"/collections/{collection}/documents/{again}/rebuild_indexes", json={"index_types": ["VECTOR"]}
    )
    told = await queues(admin)
    parse, vector = consumer(told, "indexer-parse"), consumer(told, "indexer-vector")
    assert (parse["p50_seconds"], parse["p95_seconds"]) == (2.0, 2.9), "of 1, 2 and 3 seconds"
    assert (vector["p50_seconds"], vector["p95_seconds"]) == (None, None)


async def test_workers_are_listed_with_their_slots_and_the_lost_ones_as_such(
    admin: Person, engine: AsyncEngine
) -> None:
    loads = [ConsumerLoad("indexer-parse", 8, 3)]
    await Heartbeat(engine, "indexer", "indexer-1", lambda: loads).beat()
    await Heartbeat(engine, "indexer", "indexer-2", lambda: loads).beat()
    gone = "UPDATE service_instance SET seen = clock_timestamp() - interval '1 h' WHERE instance = 'indexer-2'"
    await execute(engine, gone)
    told = await queues(admin)
    assert [(it["instance"], it["alive"]) for it in told["workers"]] == [("indexer-1", True), ("indexer-2", False)]
    parse = consumer(told, "indexer-parse")
    assert (parse["workers"], parse["slots"], parse["busy"]) == (1, 8, 3)


async def test_the_database_answers_while_nats_is_away(admin: Person, alice: Person, nats_server: NatsServer) -> None:
    await alice.uploaded(await alice.collection(), "a.txt", "tea")
    nats_server.kill()
    told = await queues(admin)
    assert "NATS" in told["nats"]
    parse = consumer(told, "indexer-parse")
    assert (parse["ready"], parse["queued"], told["streams"]) == (None, 1, [])
