"""What the reconciler guarantees: lost work is found, owners take turns, events survive a wipe, deletes end."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import subjects
from aperag_common.bus import topology
from aperag_common.bus.delivery import Ack, Nak, Settled
from aperag_common.db.models.base import Lane
from aperag_common.events.ticks import Tick, TimerName
from aperag_common.jobs.declared import COLLECTION_PURGE
from aperag_common.jobs.kind import Wanted
from aperag_common.objects import LocalObjectStore
from aperag_common.objects.local import BLOCK
from aperag_reconciler.gc.collect import Collect
from aperag_reconciler.purge.purge import Purge
from aperag_reconciler.settings import RetentionSettings
from aperag_reconciler.timers.runner import Timer, TimerRunner
from aperag_testing.factories import make_collection, make_upload, make_user
from aperag_testing.steps import attempt
from aperag_work import changes, outbox
from aperag_work.opening import Admission
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive
from aperag_work.release import FairRelease
from aperag_work.sweep import OutboxSweep

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

    from nats.aio.msg import Msg
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.engine import Engine

DUE = timedelta(seconds=60)


async def execute(engine: AsyncEngine, sql: str, **parameters: Any) -> list[Any]:
    async with engine.begin() as conn:
        result = await conn.execute(text(sql), parameters)
        return list(result.all()) if result.returns_rows else []


async def fetched(bus: Bus, consumer: str = "indexer-parse") -> list[Msg]:
    """Everything that waits on a consumer, acked.

    Counted in the stream, which holds a message once its publish is acknowledged; the consumer's own
    ``num_pending`` is told afterwards and may still say 0.
    """
    spec = topology.consumer(consumer)
    stored = 0
    for subject in spec.filters:
        info = await bus.js.stream_info(spec.stream, subjects_filter=subject)
        stored += sum((info.state.subjects or {}).values())
    if stored == 0:
        return []
    subscription = await bus.js.pull_subscribe_bind(spec.name, spec.stream)
    messages = await subscription.fetch(stored, timeout=5)
    for message in messages:
        await message.ack_sync()
    await subscription.unsubscribe()
    return messages


async def documents_of(messages: list[Msg]) -> list[str]:
    return [json.loads(message.data)["data"]["document_id"] for message in messages]


async def test_a_command_lost_before_its_publish_is_published_when_it_is_due(
    engine: AsyncEngine, bus: Bus, redrive: Redrive
) -> None:
    async with engine.begin() as conn:
        change = await make_upload(conn)  # the gateway dies here: nothing was delivered
    assert await redrive.run() == 0
    await execute(engine, "UPDATE job SET due_at = clock_timestamp() WHERE kind = 'parse'")
    assert await redrive.run() == 1
    assert await documents_of(await fetched(bus)) == [change.document_id]


async def test_a_redrive_is_not_swallowed_by_the_dedup_window_even_after_an_ack(
    engine: AsyncEngine, bus: Bus, dispatcher: Dispatcher, redrive: Redrive
) -> None:
    async with engine.begin() as conn:
        change = await make_upload(conn)
    await dispatcher.send(change.commands)
    assert len(await fetched(bus)) == 1  # acked, but its worker died before its commit
    await execute(engine, "UPDATE job SET due_at = clock_timestamp() WHERE kind = 'parse'")
    await redrive.run()
    assert len(await fetched(bus)) == 1


async def test_the_due_time_doubles_with_every_dispatch_up_to_ten_minutes(
    engine: AsyncEngine, redrive: Redrive
) -> None:
    async with engine.begin() as conn:
        await make_upload(conn)
    waits = []
    for _ in range(6):
        await execute(engine, "UPDATE job SET due_at = clock_timestamp() WHERE kind = 'parse'")
        await redrive.run()
        query = "SELECT extract(epoch FROM due_at - clock_timestamp()) AS s FROM job WHERE kind = 'parse'"
        waits.append(round(float((await execute(engine, query))[0].s)))
    assert waits == [120, 240, 480, 600, 600, 600]


async def test_two_reconcilers_publish_each_lost_command_once(
    engine: AsyncEngine, bus: Bus, job_database: Database, dispatcher: Dispatcher, redrive: Redrive
) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        made = [await make_upload(conn, collection_id=collection_id) for _ in range(20)]
    await execute(engine, "UPDATE job SET due_at = clock_timestamp() WHERE kind = 'parse'")
    totals = await asyncio.gather(redrive.run(), Redrive(job_database, dispatcher, WorkPolicy()).run())
    assert sum(totals) == 20
    assert sorted(await documents_of(await fetched(bus))) == sorted(change.document_id for change in made)


async def test_owners_take_turns_and_none_exceeds_its_slots(
    engine: AsyncEngine, bus: Bus, job_database: Database, dispatcher: Dispatcher
) -> None:
    admission = Admission(Lane.BULK, in_flight_per_owner=0, first_due=DUE)
    async with engine.begin() as conn:
        big = await make_collection(conn)
        small = await make_collection(conn)
        for _ in range(10):
            await make_upload(conn, collection_id=big, admission=admission)
        single = await make_upload(conn, collection_id=small, admission=admission)
    release = FairRelease(job_database, dispatcher, WorkPolicy(), in_flight_per_owner=4)
    assert await release.run() == 5
    sent = await documents_of(await fetched(bus))
    assert single.document_id in sent[:2]
    assert len(sent) == 5
    assert await release.run() == 0
    await execute(engine, "UPDATE job SET status = 'ACTIVE' WHERE subject_id = :d", d=sent[-1])
    assert await release.run() == 1


async def test_interactive_documents_go_before_bulk_ones_of_the_same_owner(
    engine: AsyncEngine, bus: Bus, job_database: Database, dispatcher: Dispatcher
) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        for lane in (Lane.BULK, Lane.BULK, Lane.INTERACTIVE):
            last = await make_upload(
                conn,
                collection_id=collection_id,
                admission=Admission(lane, in_flight_per_owner=0, first_due=DUE),
            )
    await FairRelease(job_database, dispatcher, WorkPolicy(), in_flight_per_owner=1).run()
    assert await documents_of(await fetched(bus)) == [last.document_id]


async def test_two_releases_at_once_do_not_exceed_the_slots(
    engine: AsyncEngine, bus: Bus, job_database: Database, dispatcher: Dispatcher
) -> None:
    admission = Admission(Lane.BULK, in_flight_per_owner=0, first_due=DUE)
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        for _ in range(12):
            await make_upload(conn, collection_id=collection_id, admission=admission)
    releases = [FairRelease(job_database, dispatcher, WorkPolicy(), in_flight_per_owner=5) for _ in range(4)]
    await asyncio.gather(*(release.run() for release in releases))
    assert len(await fetched(bus)) == 5


async def stream_events(bus: Bus) -> list[str]:
    info = await bus.js.stream_info(subjects.EVENTS)
    state = info.state
    messages = [await bus.js.get_msg(subjects.EVENTS, seq) for seq in range(state.first_seq, state.last_seq + 1)]
    return [json.loads(message.data)["type"] for message in messages if message.data]


@pytest.mark.usefixtures("keeper")
async def test_an_event_left_by_a_crash_is_relayed_once(
    engine: AsyncEngine, bus: Bus, job_database: Database, dispatcher: Dispatcher
) -> None:
    async with engine.begin() as conn:
        await make_upload(conn)  # committed, then the process died before its relay
    await execute(engine, "UPDATE outbox SET created = created - interval '1 minute'")
    sweep = OutboxSweep(job_database, dispatcher)
    assert await sweep.run() == 1
    assert await sweep.run() == 0
    assert await stream_events(bus) == ["document.uploaded"]


@pytest.mark.usefixtures("keeper")
async def test_a_fact_that_this_version_has_no_more_holds_up_no_other(
    engine: AsyncEngine, bus: Bus, job_database: Database, dispatcher: Dispatcher
) -> None:
    async with engine.begin() as conn:
        for _ in range(3):
            await make_upload(conn)
    await execute(engine, "UPDATE outbox SET created = created - interval '1 minute'")
    await execute(
        engine,
        """
        UPDATE outbox SET subject = replace(subject, 'uploaded', 'forgotten')
        WHERE id = (SELECT id FROM outbox ORDER BY id LIMIT 1)
        """,
    )
    sweep = OutboxSweep(job_database, dispatcher)
    assert await sweep.run() == 2
    assert await sweep.run() == 0
    assert await stream_events(bus) == ["document.uploaded"] * 2
    left = await execute(engine, "SELECT subject FROM outbox WHERE epoch IS NULL")
    assert [it.subject.rpartition(".")[2] for it in left] == ["forgotten"], "a newer version may know it"


@pytest.mark.usefixtures("keeper")
async def test_two_sweeps_at_once_leave_one_event(
    engine: AsyncEngine, bus: Bus, job_database: Database, dispatcher: Dispatcher
) -> None:
    async with engine.begin() as conn:
        await make_upload(conn)
    await execute(engine, "UPDATE outbox SET created = created - interval '1 minute'")
    await asyncio.gather(*(OutboxSweep(job_database, dispatcher).run() for _ in range(3)))
    assert await stream_events(bus) == ["document.uploaded"]


@pytest.fixture
def objects(tmp_path: Path) -> LocalObjectStore:
    return LocalObjectStore(tmp_path / "objects")


async def body(data: bytes) -> AsyncIterator[bytes]:
    yield data


@pytest.fixture
def purge(worker: Engine, objects: LocalObjectStore) -> Engine:
    purge = Purge(objects)
    worker.handle(COLLECTION_PURGE, purge.run, wanted=Wanted.ABSENT, write=purge.write)
    return worker


async def test_a_purge_leaves_nothing_of_its_collection_and_touches_no_other(
    engine: AsyncEngine, objects: LocalObjectStore, purge: Engine
) -> None:
    async with engine.begin() as conn:
        owner = await make_user(conn)
        doomed = await make_collection(conn, owner=owner)
        other = await make_collection(conn, owner=owner)
        made = [await make_upload(conn, collection_id=c) for c in (doomed, doomed, other)]
    for row in await execute(engine, "SELECT object_path FROM document"):
        await objects.put(row.object_path, body(b"x"))
    async with engine.begin() as conn:
        change = await changes.purge_collection(conn, doomed, owner, first_due=DUE)
    assert await attempt(purge, change.commands[0].message) == Ack(outcome="done")
    left = await execute(engine, "SELECT id FROM document")
    assert [row.id for row in left] == [made[2].document_id]
    assert [row.id for row in await execute(engine, "SELECT id FROM collection")] == [other]
    assert await objects.prefixes(f"user-{owner}") == [f"user-{owner}/{other}"]
    assert await execute(engine, "SELECT 1 FROM job WHERE kind = 'collection.purge'") == []


async def test_a_purge_held_by_another_worker_is_put_off(engine: AsyncEngine, purge: Engine) -> None:
    async with engine.begin() as conn:
        owner = await make_user(conn)
        doomed = await make_collection(conn, owner=owner)
        change = await changes.purge_collection(conn, doomed, owner, first_due=DUE)
    await execute(
        engine,
        "UPDATE job SET lease_token = 'other', lease_until = clock_timestamp() + interval '30 s'",
    )
    assert isinstance(await attempt(purge, change.commands[0].message), Nak)


async def test_garbage_collection_expires_buries_and_sweeps(engine: AsyncEngine, objects: LocalObjectStore) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        kept = await make_upload(conn, collection_id=collection_id)
        gone = await make_upload(conn, collection_id=collection_id)
        staged = await make_upload(conn, collection_id=collection_id)
    await execute(
        engine,
        """UPDATE document SET status = 'UPLOADED', created = created - interval '25 hours' WHERE id = :d""",
        d=staged.document_id,
    )
    await execute(
        engine,
        "UPDATE document SET status = 'DELETED', deleted_at = clock_timestamp() - interval '11 min' WHERE id = :d",
        d=gone.document_id,
    )
    await execute(engine, "DELETE FROM job WHERE subject_id = :d", d=gone.document_id)
    for row in await execute(engine, "SELECT object_path FROM document"):
        await objects.put(row.object_path, body(b"x"))
    owner = (await execute(engine, "SELECT owner FROM collection"))[0].owner
    await objects.put(f"user-{owner}/{collection_id}/docorphan/original.txt", body(b"x"))
    collect = Collect(engine, objects, RetentionSettings(orphan_object=timedelta(0)))
    await collect.run()
    found = await execute(engine, "SELECT id, status FROM document ORDER BY status")
    assert {(r.id, r.status) for r in found} == {(staged.document_id, "EXPIRED"), (kept.document_id, "PENDING")}
    prefixes = await objects.prefixes(f"user-{owner}/{collection_id}")
    assert {p.rpartition("/")[2] for p in prefixes} == {staged.document_id, kept.document_id}


async def test_a_tombstone_stays_until_its_removal_has_ended(engine: AsyncEngine, objects: LocalObjectStore) -> None:
    """Else the delete's task would never end: nobody is left to close it."""
    async with engine.begin() as conn:
        change = await make_upload(conn)
    async with engine.begin() as conn:
        assert await changes.delete(conn, change.document_id, first_due=DUE)
    await execute(engine, "UPDATE document SET deleted_at = clock_timestamp() - interval '1 day'")
    collect = Collect(engine, objects, RetentionSettings())
    await collect.run()
    assert len(await execute(engine, "SELECT 1 FROM document")) == 1
    await execute(engine, "UPDATE job SET status = 'FAILED'")
    await collect.run()
    assert await execute(engine, "SELECT 1 FROM document") == []


async def test_a_release_leaves_alone_what_a_request_holds(
    engine: AsyncEngine, bus: Bus, job_database: Database, dispatcher: Dispatcher
) -> None:
    admission = Admission(Lane.BULK, in_flight_per_owner=0, first_due=DUE)
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        first, second = [await make_upload(conn, collection_id=collection_id, admission=admission) for _ in range(2)]
    release = FairRelease(job_database, dispatcher, WorkPolicy(), in_flight_per_owner=5)
    async with engine.begin() as holding:
        await holding.execute(text("SELECT 1 FROM job WHERE subject_id = :d FOR UPDATE"), {"d": first.document_id})
        assert await asyncio.wait_for(release.run(), 5) == 1
    assert await documents_of(await fetched(bus)) == [second.document_id]
    assert await release.run() == 1


async def test_a_late_mark_does_not_take_an_event_back_to_an_older_epoch(
    engine: AsyncEngine, job_database: Database
) -> None:
    async with engine.begin() as conn:
        change = await make_upload(conn)
    for epoch in (2, 1):
        async with job_database.relaxed.acquire() as relaying:
            await outbox.mark_relayed(relaying, [event.id for event in change.events], epoch)
    assert [row.epoch for row in await execute(engine, "SELECT epoch FROM outbox")] == [2]


async def test_young_objects_without_a_row_are_left_alone(engine: AsyncEngine, objects: LocalObjectStore) -> None:
    await objects.put("user-u/col/doc/original.txt", body(b"x"))  # an upload whose transaction is still to come
    await Collect(engine, objects, RetentionSettings()).run()
    assert await objects.exists("user-u/col/doc/original.txt")


async def test_an_upload_that_is_still_coming_in_is_no_orphan(engine: AsyncEngine, objects: LocalObjectStore) -> None:
    path = "user-u/col/doc/original.txt"
    collect = Collect(engine, objects, RetentionSettings())

    async def slowly() -> AsyncIterator[bytes]:
        yield b"x" * BLOCK  # as much as makes the store begin to write
        await collect.run()
        yield b"y"

    await objects.put(path, slowly())
    assert await objects.exists(path)


async def test_what_an_upload_left_that_never_ended_is_an_orphan(
    engine: AsyncEngine, objects: LocalObjectStore, tmp_path: Path
) -> None:
    torn = tmp_path / "objects/user-u/col/doc/.incoming-0"
    torn.parent.mkdir(parents=True)
    torn.write_bytes(b"half")
    await Collect(engine, objects, RetentionSettings(orphan_object=timedelta(0))).run()
    assert not torn.exists()


async def test_a_tick_is_dropped_while_an_earlier_one_waits(bus: Bus, dispatcher: Dispatcher) -> None:
    assert await dispatcher.publisher.tick("outbox")
    assert not await dispatcher.publisher.tick("outbox")
    assert await dispatcher.publisher.tick("collection-gc")
    assert len(await fetched(bus, "reconciler-tick")) == 2
    assert await dispatcher.publisher.tick("outbox")


async def test_a_failing_job_does_not_come_back_by_its_own_message(
    engine: AsyncEngine, dispatcher: Dispatcher, metrics: Metrics
) -> None:
    runs = 0

    async def job() -> None:
        nonlocal runs
        runs += 1
        message = "the database is away"
        raise OSError(message)

    timers: dict[str, Timer] = {TimerName.OUTBOX: Timer(TimerName.OUTBOX, timedelta(1), job)}
    timer_runner = TimerRunner(engine, dispatcher.publisher, metrics, timers, instance="tests")
    with pytest.raises(Settled):
        await timer_runner.run(Tick(timer=TimerName.OUTBOX, time=datetime.now(UTC)))
    assert runs == 1
