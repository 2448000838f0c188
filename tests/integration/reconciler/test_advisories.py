"""Messages that the server gives up: counted, kept, removed from their queue, and their work is done all the same."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.bus.declared import declared_for
from aperag_common.bus.delivery import Ack
from aperag_common.bus.worker import Worker
from aperag_common.services import Service
from aperag_reconciler.advisories.handlers import Advisories
from aperag_reconciler.advisories.message import Advisory
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.msg import Msg

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.delivery import Delivery
    from aperag_common.metrics import Metrics
    from aperag_testing.steps import Steps
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.redrive import Redrive

PARSE = topology.consumer("indexer-parse")


@pytest.fixture
def advisories(job_database: Database, bus: Bus, metrics: Metrics) -> Advisories:
    return Advisories(job_database, bus, metrics)


@pytest_asyncio.fixture
async def keeper(advisories: Advisories, bus: Bus, metrics: Metrics) -> AsyncIterator[Worker]:
    """The reconciler's consumer of advisories, and nothing else of it."""

    async def poison(delivery: Delivery, err: Exception) -> None:
        message = f"{delivery.raw.data!r} is poison: {err}"
        raise AssertionError(message)

    worker = Worker(bus, declared_for(Service.RECONCILER), metrics, poison)
    worker.subscribe("reconciler-advisory", Advisory, advisories.keep, slots=1)
    await worker.start()
    yield worker
    await worker.stop()


async def stored(bus: Bus, stream: str) -> int:
    return int((await bus.js.stream_info(stream)).state.messages)


async def delivered(bus: Bus, *, within: float = 30.0) -> Msg:
    subscription = await bus.js.pull_subscribe_bind(PARSE.name, PARSE.stream)
    try:
        [message] = await subscription.fetch(1, timeout=within)
    finally:
        await subscription.unsubscribe()
    return message


async def exhaust(bus: Bus) -> None:
    """The parse's only message is given back more often than the server delivers it."""
    limited = replace(PARSE.config(), max_deliver=2)
    await bus.js.add_consumer(PARSE.stream, limited)
    for _ in range(2):
        await (await delivered(bus)).nak()
    # The server notices when it would deliver the message once more: when somebody asks for one.
    with pytest.raises(TimeoutError):
        await delivered(bus, within=0.5)


async def letters(steps: Steps) -> list[Any]:
    return await steps.rows("SELECT * FROM dead_letter")


def counted(metrics: Metrics, kind: str) -> float | None:
    return metrics.registry.get_sample_value("aperag_advisories_total", {"kind": kind, "consumer": PARSE.name})


async def test_a_message_that_nobody_settled_is_kept_and_removed_and_its_document_ends_well(
    bus: Bus, steps: Steps, dispatcher: Dispatcher, redrive: Redrive, metrics: Metrics, keeper: Worker
) -> None:
    change = await steps.upload()
    await dispatcher.send(change.commands)
    await exhaust(bus)
    [letter] = await until(lambda: letters(steps))
    [command] = change.commands
    assert (letter.code, letter.consumer, letter.attempt) == ("MAX_DELIVERIES", PARSE.name, 2)
    assert (letter.subject, letter.payload["data"]) == (command.subject, command.message.data.model_dump())
    assert (letter.row_id, letter.generation, letter.kind) == (command.row.id, 1, "parse")
    assert (letter.document_id, letter.workflow_id) == (change.document_id, change.workflow_id)
    assert letter.headers["Nats-Msg-Id"] == command.message_id
    assert counted(metrics, "MAX_DELIVERIES") == 1

    async def empty() -> bool:
        return await stored(bus, subjects.COMMANDS) == await stored(bus, subjects.ADVISORIES) == 0

    await until(empty)
    await finds_its_way(bus, steps, redrive, change.document_id)


async def finds_its_way(bus: Bus, steps: Steps, redrive: Redrive, document_id: str) -> None:
    """The job is due, is published again, and is worked on like any other."""
    async with steps.engine.begin() as conn:
        await conn.execute(text("UPDATE job SET due_at = clock_timestamp() WHERE kind = 'parse'"))
    assert await redrive.run() == 1
    again = await delivered(bus)
    assert json.loads(again.data)["data"]["document_id"] == document_id
    assert await steps.work(await steps.command(document_id)) == Ack(outcome="done")
    await again.ack_sync(timeout=30)
    await steps.complete(document_id, "vector", "fulltext")
    assert set((await steps.statuses(document_id)).values()) == {"ACTIVE"}


async def test_a_message_that_a_consumer_ended_is_kept_as_far_as_it_is_known(
    bus: Bus, steps: Steps, dispatcher: Dispatcher, redrive: Redrive, metrics: Metrics, keeper: Worker
) -> None:
    change = await steps.upload()
    await dispatcher.send(change.commands)
    await (await delivered(bus)).term()
    [letter] = await until(lambda: letters(steps))
    assert (letter.code, letter.consumer, letter.row_id) == ("MSG_TERMINATED", PARSE.name, None)
    assert letter.subject == f"$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.{PARSE.stream}.{PARSE.name}"
    assert letter.payload["stream_seq"] == 1
    assert counted(metrics, "MSG_TERMINATED") == 1
    await finds_its_way(bus, steps, redrive, change.document_id)


async def test_what_is_no_command_is_kept_all_the_same(bus: Bus, steps: Steps, keeper: Worker) -> None:
    for body in (b'{"data": {"row_id": 7, "generation": "x"}, "owner": ["o"]}', b"\xff\x00", b"[]"):
        await bus.js.publish(subjects.PARSE_DOCUMENT, body, stream=subjects.COMMANDS)
        await exhaust(bus)

        async def removed() -> bool:
            return await stored(bus, subjects.COMMANDS) == 0

        await until(removed)
    found = await letters(steps)
    assert {(letter.row_id, letter.generation, letter.owner) for letter in found} == {(None, None, None)}
    assert [letter.payload for letter in found if "data" in letter.payload] == [
        {"data": {"row_id": 7, "generation": "x"}, "owner": ["o"]}
    ]
    assert len(found) == 3


async def test_an_advisory_that_comes_twice_leaves_one_letter_and_counts_once(
    bus: Bus, steps: Steps, advisories: Advisories, dispatcher: Dispatcher, metrics: Metrics
) -> None:
    await dispatcher.send((await steps.upload()).commands)
    await exhaust(bus)

    async def told() -> int:
        return await stored(bus, subjects.ADVISORIES)

    await until(told)
    raw = await bus.js.get_msg(subjects.ADVISORIES, 1)
    advisory = Advisory.model_validate_json(raw.data or b"")
    for _ in range(2):
        await advisories.keep(advisory)
    [letter] = await letters(steps)
    assert letter.document_id is not None  # the second time, the message was gone already
    assert counted(metrics, "MAX_DELIVERIES") == 1
    assert await stored(bus, subjects.COMMANDS) == 0


async def test_advisories_of_streams_that_are_not_ours_are_left_to_others(bus: Bus) -> None:
    await bus.js.add_stream(name="ELSEWHERE", subjects=["elsewhere"])
    subscription = await bus.js.pull_subscribe("elsewhere", durable="other", stream="ELSEWHERE")
    await bus.js.publish("elsewhere", b"x")
    [message] = await subscription.fetch(1, timeout=30)
    seen = await bus.nc.subscribe("$JS.EVENT.ADVISORY.CONSUMER.MSG_TERMINATED.>")
    await bus.nc.flush()
    await message.term()
    assert (await seen.next_msg(timeout=30)).subject.endswith("ELSEWHERE.other")
    assert await stored(bus, subjects.ADVISORIES) == 0


async def test_an_ack_that_a_killed_server_had_only_half_noted_is_no_alarm(
    steps: Steps, advisories: Advisories, metrics: Metrics
) -> None:
    told = {
        "type": "io.nats.jetstream.advisory.v1.terminated",
        "id": "VQ2nJ5cV0bYfJYk9mKzH1a",
        "timestamp": "2026-11-22T23:55:00Z",
        "stream": PARSE.stream,
        "consumer": PARSE.name,
        "stream_seq": 7,
        "deliveries": 1,
        "reason": "Unacknowledged message was deleted",
    }
    await advisories.keep(Advisory.model_validate(told))
    assert await letters(steps) == []
    assert counted(metrics, "MSG_TERMINATED") is None
