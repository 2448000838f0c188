"""Streams and consumers are as the topology says on any store: an older one, another one, and one that was wiped."""

from __future__ import annotations

import asyncio
import json
import shutil
from dataclasses import replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from nats.js.api import RetentionPolicy, StorageType
from nats.js.errors import NotFoundError

from aperag_common import errors, subjects
from aperag_common.bus import topology
from aperag_common.bus.delivery import Ack
from aperag_common.jobs.declared import PARSE, TURN
from aperag_reconciler.topology.keeper import TopologyKeeper
from aperag_testing.factories import ADMISSION, make_collection
from aperag_testing.steps import Gate
from aperag_testing.waiting import until
from aperag_work import transitions
from aperag_work.database import driver
from aperag_work.rows import Dispatch
from aperag_work.sweep import OutboxSweep
from aperag_work.transitions import Wish

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_standalone.nats import NatsServer
    from aperag_testing.steps import Steps
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.redrive import Redrive

CONSUMER = topology.consumer("indexer-parse")


async def stored(bus: Bus, stream: str) -> list[dict[str, Any]]:
    """Every message of the stream."""
    state = (await bus.js.stream_info(stream)).state
    if state.messages == 0:
        return []
    found = [await bus.js.get_msg(stream, sequence) for sequence in range(state.first_seq, state.last_seq + 1)]
    return [json.loads(message.data or b"") for message in found]


async def subjects_of(bus: Bus, stream: str) -> list[str]:
    """What the stream's messages are about."""
    return sorted(message["subject"] for message in await stored(bus, stream))


async def epochs(steps: Steps) -> dict[str, int]:
    return {row.stream: row.epoch for row in await steps.rows("SELECT stream, epoch FROM stream_epoch")}


async def make_turn(engine: AsyncEngine, dispatcher: Dispatcher) -> str:
    """A turn's job whose command was published."""
    async with engine.begin() as conn:
        wish = Wish(TURN.name, "turn1", "user1")
        [(row, _)] = await transitions.want(await driver(conn), TURN, [wish], first_due=ADMISSION.first_due)
    assert await dispatcher.send([Dispatch(row, "tests")]) == 1
    return row.subject_id


@pytest.mark.parametrize("stream", [subjects.COMMANDS, subjects.TURNS])
async def test_commands_of_a_stream_that_began_anew_are_published_again_before_they_are_due(
    bus: Bus,
    engine: AsyncEngine,
    dispatcher: Dispatcher,
    keeper: TopologyKeeper,
    redrive: Redrive,
    steps: Steps,
    stream: str,
) -> None:
    change = await steps.upload()
    expected = {subjects.COMMANDS: [change.document_id], subjects.TURNS: [await make_turn(engine, dispatcher)]}
    await dispatcher.send(change.commands)
    assert await redrive.run() == 0, "nothing is due"
    await bus.js.delete_stream(stream)
    assert await keeper.apply()
    assert {it: await subjects_of(bus, it) for it in expected} == expected
    again = await steps.rows("SELECT kind, dispatch FROM job WHERE dispatch > 0")
    lost = PARSE.name if stream == subjects.COMMANDS else TURN.name
    assert {row.kind: row.dispatch for row in again} == {PARSE.name: 1, TURN.name: 1, lost: 2}
    assert (await epochs(steps))[stream] == 2


async def test_a_wipe_leaves_alone_what_its_stream_did_not_hold(
    bus: Bus, engine: AsyncEngine, keeper: TopologyKeeper, redrive: Redrive, steps: Steps
) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
    pending, working, failed = [await steps.upload(collection_id=collection_id) for _ in range(3)]
    unreleased = await steps.upload(collection_id=collection_id, admission=replace(ADMISSION, in_flight_per_owner=0))
    gate = Gate()
    attempt = asyncio.create_task(steps.work(await steps.command(working.document_id), during=gate))
    await gate.until_reached()

    async def fail(_: object) -> None:
        message = "busy"
        raise errors.Busy(message, retry_after=timedelta(minutes=1))

    assert await steps.work(await steps.command(failed.document_id), during=fail) == Ack(outcome="retry_later")
    await bus.js.delete_stream(subjects.COMMANDS)
    assert await keeper.apply()
    assert await subjects_of(bus, subjects.COMMANDS) == [pending.document_id]
    [dispatch] = await steps.column(
        "SELECT dispatch FROM job WHERE subject_id = :d AND kind = 'parse'", d=unreleased.document_id
    )
    assert dispatch == 0
    gate.open()
    assert await attempt == Ack(outcome="done")


async def test_the_first_sight_of_a_stream_is_no_wipe(
    bus: Bus, engine: AsyncEngine, dispatcher: Dispatcher, redrive: Redrive, steps: Steps
) -> None:
    await steps.upload()
    assert await TopologyKeeper(bus, engine, dispatcher, redrive, period=30).apply()
    assert await epochs(steps) == dict.fromkeys((subjects.EVENTS, subjects.COMMANDS, subjects.TURNS), 1)
    assert await stored(bus, subjects.COMMANDS) == []


async def test_a_stream_that_the_server_refuses_keeps_no_other_from_its_own(
    bus: Bus, keeper: TopologyKeeper, steps: Steps
) -> None:
    for stream in (subjects.TICKS, subjects.EVENTS):
        await bus.js.delete_stream(stream)
    await bus.js.add_stream(name="OTHER", subjects=[f"{subjects.ROOT}.tick.>"])
    assert not await keeper.apply()
    assert subjects.TICKS in (await keeper.problem() or "")
    assert (await epochs(steps))[subjects.EVENTS] == 2
    await bus.js.delete_stream("OTHER")
    assert await keeper.apply()
    assert await keeper.problem() is None


async def test_a_wiped_store_gets_its_commands_and_all_retained_events_again(
    bus: Bus,
    dispatcher: Dispatcher,
    job_database: Database,
    keeper: TopologyKeeper,
    nats_server: NatsServer,
    steps: Steps,
) -> None:
    change = await steps.upload()
    await dispatcher.send(change.commands)
    assert await dispatcher.relay(change.events) == 1
    await asyncio.to_thread(nats_server.kill)
    shutil.rmtree(nats_server.store)
    await asyncio.to_thread(nats_server.start)
    await until(keeper.apply)
    assert set((await epochs(steps)).values()) == {2}
    assert await subjects_of(bus, subjects.COMMANDS) == [change.document_id]
    await steps.change("UPDATE outbox SET created = created - interval '1 minute'")
    assert await OutboxSweep(job_database, dispatcher).run() == 1
    assert [message["type"] for message in await stored(bus, subjects.EVENTS)] == ["document.uploaded"]


async def test_of_several_keepers_one_raises_the_epoch(
    bus: Bus, engine: AsyncEngine, dispatcher: Dispatcher, redrive: Redrive, steps: Steps
) -> None:
    keepers = [TopologyKeeper(bus, engine, dispatcher, redrive, period=30) for _ in range(4)]
    for epoch in (1, 2):
        assert all(await asyncio.gather(*(keeper.apply() for keeper in keepers)))
        assert set((await epochs(steps)).values()) == {epoch}
        for stream in (subjects.EVENTS, subjects.COMMANDS, subjects.TURNS):
            await bus.js.delete_stream(stream)


async def test_a_consumer_that_was_renamed_is_retired_on_an_old_store_and_loses_nothing(
    bus: Bus, engine: AsyncEngine, dispatcher: Dispatcher, redrive: Redrive, steps: Steps
) -> None:
    await bus.js.delete_consumer(CONSUMER.stream, CONSUMER.name)
    older = replace(CONSUMER, name="indexer-read")
    await bus.js.add_consumer(older.stream, older.config())
    change = await steps.upload()
    await dispatcher.send(change.commands)
    fetching = await bus.js.pull_subscribe_bind(older.name, older.stream)
    [held] = await fetching.fetch(1, timeout=30)  # its worker is stopped for the upgrade, and never settles it
    await fetching.unsubscribe()
    keeper = TopologyKeeper(bus, engine, dispatcher, redrive, period=30)
    assert await keeper.apply(), await keeper.problem()
    with pytest.raises(NotFoundError):
        await bus.js.consumer_info(older.stream, older.name)
    fetching = await bus.js.pull_subscribe_bind(CONSUMER.name, CONSUMER.stream)
    [again] = await fetching.fetch(1, timeout=30)
    await fetching.unsubscribe()
    assert (again.data, again.metadata.num_delivered) == (held.data, 1)


async def test_consumers_of_other_peoples_streams_are_not_retired(bus: Bus, keeper: TopologyKeeper) -> None:
    await bus.js.add_stream(name="ELSEWHERE", subjects=["elsewhere"])
    await bus.js.pull_subscribe("elsewhere", durable="other", stream="ELSEWHERE")
    assert await topology.retire_consumers(bus.js) == []
    assert (await bus.js.consumer_info("ELSEWHERE", "other")).name == "other"


@pytest.mark.parametrize(
    ("older", "told"),
    [
        ({"storage": StorageType.MEMORY}, "storage of stream APERAG_COMMANDS is memory and should be file"),
        (
            {"retention": RetentionPolicy.LIMITS},
            "retention of stream APERAG_COMMANDS is limits and should be workqueue",
        ),
    ],
    ids=["storage", "retention"],
)
async def test_a_difference_that_cannot_be_changed_is_reported_and_the_stream_works_on(
    bus: Bus, dispatcher: Dispatcher, keeper: TopologyKeeper, steps: Steps, older: dict[str, Any], told: str
) -> None:
    assert await keeper.difference() is None
    spec = topology.stream(subjects.COMMANDS)
    await bus.js.delete_stream(spec.name)
    await bus.js.add_stream(replace(spec, **older, max_bytes=topology.MIB).config())
    assert await keeper.apply()
    assert await keeper.difference() == told
    assert await keeper.problem() is None
    change = await steps.upload()
    assert await dispatcher.send(change.commands) == 1, "work goes on all the same"
    assert await keeper.apply()
    assert await subjects_of(bus, spec.name) == [change.document_id]
    await bus.js.delete_stream(spec.name)
    assert await keeper.apply()
    assert await keeper.difference() is None
    assert await subjects_of(bus, spec.name) == [change.document_id]
