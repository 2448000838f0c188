"""A process that dies between two of its steps: what is done twice has its effect once, what is lost comes back."""

from __future__ import annotations

import asyncio
import contextlib
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.bus.declared import Declared
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.bus.worker import Worker
from aperag_common.jobs.declared import PARSE
from aperag_common.jobs.kind import Wanted
from aperag_reconciler.topology.keeper import TopologyKeeper
from aperag_testing.waiting import until
from aperag_work.completion import Completion
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive
from aperag_work.sweep import OutboxSweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.bus.delivery import Delivery
    from aperag_common.metrics import Metrics
    from aperag_testing.steps import Steps
    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.job import Job

SLOTS = 1
"""One message after the other: a second delivery finds its step settled, not leased."""


@pytest.fixture
def redrive(job_database: Database, dispatcher: Dispatcher) -> Redrive:
    return Redrive(job_database, dispatcher, WorkPolicy())


async def unexpected(_: Delivery, err: Exception) -> None:
    raise AssertionError from err


@contextlib.asynccontextmanager
async def parsing(bus: Bus, metrics: Metrics, steps: Steps) -> AsyncIterator[Worker]:
    """A worker that parses whatever it is sent."""

    async def run(_: Job) -> Completion:
        return Completion()

    parser = Engine(steps.worker.database, steps.worker.dispatcher, WorkPolicy(), metrics, "parser", source="tests")
    parser.handle(PARSE, run, slots=SLOTS)
    worker = Worker(bus, Declared(), metrics, unexpected)
    parser.subscribe(worker)
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


async def ack_wait(bus: Bus, seconds: float) -> None:
    """How soon the server delivers again what nobody has acked."""
    config = topology.consumer("indexer-parse").config()
    config.ack_wait = seconds
    await bus.js.add_consumer(subjects.COMMANDS, config)


async def stored(bus: Bus) -> int:
    return int((await bus.js.stream_info(subjects.COMMANDS)).state.messages)


async def due_now(steps: Steps) -> None:
    await steps.change("UPDATE job SET due_at = clock_timestamp() WHERE due_at < 'infinity'")


async def test_work_whose_ack_was_lost_is_delivered_again_and_acked_without_being_done_again(
    bus: Bus, metrics: Metrics, steps: Steps, dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a crash between the commit and the ack."""
    publish, lost = bus.nc.publish, list[str]()

    async def lose_the_first_ack(subject: str, payload: bytes = b"", *more: Any, **named: Any) -> None:
        if payload == b"+ACK" and not lost:
            lost.append(subject)
        else:
            await publish(subject, payload, *more, **named)

    monkeypatch.setattr(bus.nc, "publish", lose_the_first_ack)
    await ack_wait(bus, 1)
    change = await steps.upload(kinds=())
    async with parsing(bus, metrics, steps):
        await dispatcher.send(change.commands)

        async def gone() -> bool:
            return await stored(bus) == 0

        await until(gone)
    assert len(lost) == 1
    settled = {"consumer": "indexer-parse", "outcome": "settled"}
    assert metrics.registry.get_sample_value("aperag_attempts_total", settled) == 1
    assert await steps.column("SELECT attempt FROM job") == [1]
    assert await steps.told() == {change.workflow_id: ["SUCCESS"]}


async def test_a_worker_that_dies_before_its_commit_leaves_nothing_and_the_next_one_ends_the_workflow_once(
    steps: Steps,
) -> None:
    change = await steps.upload()
    await steps.complete(change.document_id, "parse", "vector")
    message = await steps.command(change.document_id, "fulltext")

    async def die(conn: Connection) -> None:
        """The connection's end is all that the database ever hears of a crash."""
        await conn.execute("UPDATE document SET name = 'half done'")
        backend = await conn.fetchval("SELECT pg_backend_pid()")
        await steps.rows("SELECT pg_terminate_backend(:pid)", pid=backend)

    assert isinstance(await steps.work(message, ending=die), Nak)
    assert await steps.told() == {}
    assert await steps.column("SELECT name FROM document WHERE name = 'half done'") == []
    assert await steps.work(message) == Ack()
    assert await steps.told() == {change.workflow_id: ["SUCCESS"]}
    facts = "SELECT count(*) FROM outbox WHERE payload->'data'->>'kind' = 'fulltext'"
    assert await steps.column(facts) == [1]


async def test_a_change_whose_process_died_before_its_publish_is_done_and_told_all_the_same(
    bus: Bus,
    metrics: Metrics,
    engine: AsyncEngine,
    steps: Steps,
    job_database: Database,
    dispatcher: Dispatcher,
    redrive: Redrive,
) -> None:
    await TopologyKeeper(bus, engine, dispatcher, redrive, period=60).apply()
    change = await steps.upload(kinds=())  # nothing of it is delivered: neither its command nor its event
    assert await stored(bus) == 0
    await due_now(steps)
    async with parsing(bus, metrics, steps):
        assert await redrive.run() == 1

        async def told() -> bool:
            return bool(await steps.told())

        await until(told)
    await dispatcher.close()
    await steps.change("UPDATE outbox SET created = created - interval '1 hour'")
    await OutboxSweep(job_database, dispatcher).run()
    messages = (await bus.js.stream_info(subjects.EVENTS)).state.messages
    assert messages == len(await steps.column("SELECT id FROM outbox")) > 0
    assert await steps.told() == {change.workflow_id: ["SUCCESS"]}


async def test_a_command_that_was_published_twice_is_worked_on_once(
    bus: Bus, metrics: Metrics, steps: Steps, dispatcher: Dispatcher, redrive: Redrive
) -> None:
    """A re-drive beside a message that only took long."""
    change = await steps.upload(kinds=())
    await dispatcher.send(change.commands)
    await due_now(steps)
    assert await redrive.run() == 1
    assert await stored(bus) == 2
    async with parsing(bus, metrics, steps):

        async def gone() -> bool:
            return await stored(bus) == 0

        await until(gone)
    assert await steps.column("SELECT attempt FROM job") == [1]
    assert await steps.told() == {change.workflow_id: ["SUCCESS"]}


async def test_a_removal_and_a_build_of_the_same_row_and_generation_are_two_messages(
    bus: Bus, steps: Steps, dispatcher: Dispatcher, metrics: Metrics
) -> None:
    """The server's dedup key is per stream: an id without the subject would swallow the second one."""
    change = await steps.upload()
    build = await steps.dispatch(change.document_id, "vector")
    removal = replace(build, row=replace(build.row, wanted=Wanted.ABSENT))
    assert await dispatcher.send([removal]) == await dispatcher.send([build]) == 1
    assert await stored(bus) == 2
    assert metrics.registry.get_sample_value("aperag_duplicates_total") is None


async def test_a_build_after_a_removal_inside_the_dedup_window_reaches_its_worker(
    bus: Bus, steps: Steps, dispatcher: Dispatcher
) -> None:
    upload = await steps.upload()
    await steps.complete(upload.document_id)
    sent = list(upload.commands)
    for _ in range(2):
        rebuilt = await steps.rebuild(upload.document_id)
        sent += rebuilt.commands
        await steps.complete(upload.document_id)
    deleted = await steps.delete(upload.document_id)
    assert deleted is not None
    sent += deleted.commands
    again = await steps.upload()  # the same bytes again, as somebody who thought better of it
    sent += again.commands
    await dispatcher.send(sent)
    await dispatcher.close()
    ids = [command.message_id for command in sent]
    assert len(set(ids)) == len(ids) == 7
    commands = {command.message_id for command in sent}
    assert commands <= await message_ids(bus)


async def message_ids(bus: Bus) -> set[str]:
    info = await bus.js.stream_info(subjects.COMMANDS)
    numbers = range(info.state.first_seq, info.state.last_seq + 1)
    messages = [await bus.js.get_msg(subjects.COMMANDS, number) for number in numbers]
    return {(message.headers or {})["Nats-Msg-Id"] for message in messages}


async def test_a_first_dispatch_that_the_stream_already_has_is_counted_and_a_repeated_one_as_such(
    steps: Steps, dispatcher: Dispatcher, metrics: Metrics
) -> None:
    change = await steps.upload()
    [first] = change.commands
    second = replace(first, row=replace(first.row, dispatch=2))
    assert [await dispatcher.send([command]) for command in (first, first, second, second)] == [1, 1, 1, 1]
    for name in ("true", "false"):
        labels = {"kind": str(first.subject), "first": name}
        assert metrics.registry.get_sample_value("aperag_duplicates_total", labels) == 1


async def test_a_full_stream_refuses_work_and_the_redrive_delivers_it_once_there_is_room(
    bus: Bus, metrics: Metrics, steps: Steps, dispatcher: Dispatcher, redrive: Redrive
) -> None:
    """``discard new``: with the server's default the oldest work would be dropped without a word."""
    waiting = await steps.upload(kinds=())
    await dispatcher.send(waiting.commands)
    config = topology.stream(subjects.COMMANDS).config()
    config.max_msgs = 1
    await bus.js.update_stream(config)
    refused = await steps.upload(kinds=())
    assert await dispatcher.send(refused.commands) == 0
    kind = str(refused.commands[0].subject)
    failed = [
        metrics.registry.get_sample_value("aperag_publishes_total", {"kind": kind, "result": result})
        for result in ("full", "refused")
    ]
    assert [count for count in failed if count] == [1]
    assert await steps.statuses(refused.document_id) == {"parse": "PENDING"}
    assert await stored(bus) == 1
    async with parsing(bus, metrics, steps):

        async def room() -> bool:
            return await stored(bus) == 0

        await until(room)
        await due_now(steps)
        assert await redrive.run() == 1

        async def both() -> bool:
            return len(await steps.told()) == 2

        await until(both)
    assert set(map(tuple, (await steps.told()).values())) == {("SUCCESS",)}


async def test_a_stream_that_is_gone_costs_a_publish_and_not_the_work(
    bus: Bus, steps: Steps, dispatcher: Dispatcher, redrive: Redrive
) -> None:
    """A core publish would be lost in silence."""
    change = await steps.upload()
    await bus.js.delete_stream(subjects.COMMANDS)
    assert await dispatcher.send(change.commands) == 0
    await topology.apply(bus.js)
    await due_now(steps)
    assert await redrive.run() == 1
    assert await stored(bus) == 1


async def test_a_redrive_leaves_alone_a_job_that_is_being_claimed(
    engine: AsyncEngine, steps: Steps, redrive: Redrive
) -> None:
    await steps.upload(kinds=())
    await due_now(steps)
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE job SET due_at = clock_timestamp() + interval '35 s'"))
        async with asyncio.timeout(30):
            assert await redrive.run() == 0
    assert await redrive.run() == 0
