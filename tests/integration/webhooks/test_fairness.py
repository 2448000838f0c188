"""Failing and slow deliveries of one owner hold up nobody else's, and nobody's documents."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest
from tests.integration.webhooks.conftest import LOOPBACK, fact, made, move_clock

from aperag_common import subjects
from aperag_common.jobs.declared import DOCUMENTS
from aperag_common.jobs.kind import kinds_in
from aperag_testing.factories import make_collection, make_upload
from aperag_work.accepting import IN_FLIGHT
from aperag_work.database import Statement

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine
    from tests.integration.api.conftest import Person
    from tests.integration.webhooks.conftest import Events, Receiver, Reconciler, Rows, WebhookProcess

    from aperag_common.bus.connection import Bus
    from aperag_work.database import Database

pytestmark = pytest.mark.parametrize("settings", [LOOPBACK], indirect=True)

MANY = 200
PLACES = 16


async def queued(bus: Bus) -> int:
    return int((await bus.js.consumer_info(subjects.COMMANDS, "webhooks-deliver")).num_pending or 0)


async def test_one_owners_many_deliveries_take_only_their_places(
    alice: Person,
    make_person: Callable[..., Awaitable[Person]],
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    reconciler: Reconciler,
    rows: Rows,
) -> None:
    hanging, well = await make_receiver(None), await make_receiver()
    bob = await make_person()
    await made(alice, hanging.url)
    await made(bob, well.url)
    async with service.running():
        await events.tell(*(fact(alice.id) for _ in range(MANY)))
        await rows.until_all("SELECT count(*) FROM webhook_delivery", [MANY])
        await hanging.until_got(PLACES)
        assert await reconciler.run() == 0
        # None waits in the queue in front of another owner's: all that is published is under way.
        assert await queued(service.bus) == 0
        assert [tuple(it) for it in await rows.all("SELECT dispatch, count(*) FROM job GROUP BY 1 ORDER BY 1")] == [
            (-1, MANY - PLACES),
            (1, PLACES),
        ]
        await events.tell(fact(bob.id))
        await well.until_got(1, within=3)
        hanging.answered.set()
    assert len(hanging.got) == PLACES


async def test_retries_that_are_all_due_come_back_in_their_owners_places(
    alice: Person,
    make_person: Callable[..., Awaitable[Person]],
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    reconciler: Reconciler,
    rows: Rows,
) -> None:
    failing, well = await make_receiver(500), await make_receiver()
    bob = await make_person()
    await made(alice, failing.url)
    await made(bob, well.url)
    waiting = "SELECT count(*) FROM job WHERE failures = 1 AND lease_token IS NULL AND dispatch = -2"
    async with service.running():
        await events.tell(*(fact(alice.id) for _ in range(MANY)))
        for _ in range(MANY // PLACES + 1):
            await rows.until_all("SELECT count(*) FROM job WHERE dispatch = 1", [0])
            await reconciler.release.run()
        await rows.until_all(waiting, [MANY])
    # Nobody works, all are due: no more than the places are published, however often the reconciler looks.
    await move_clock(rows, timedelta(minutes=1))
    assert await reconciler.run() == PLACES
    assert await reconciler.run() == 0
    assert await queued(service.bus) == PLACES
    async with service.running():
        await events.tell(fact(bob.id))
        await well.until_got(1, within=3)


async def test_deliveries_take_no_place_of_a_document(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    rows: Rows,
    engine: AsyncEngine,
    job_database: Database,
) -> None:
    """While they wait for a retry they are not even read: the index of published jobs does not hold them."""
    failing = await make_receiver(500)
    await made(alice, failing.url)
    async with service.running():
        await events.tell(*(fact(alice.id) for _ in range(PLACES)))
        await rows.until_all("SELECT count(*) FROM job WHERE dispatch = -2", [PLACES])
    async with engine.begin() as conn:
        change = await make_upload(conn, collection_id=await make_collection(conn, owner=alice.id))
    assert [command.row.kind for command in change.commands] == ["parse"]
    count = Statement("count", IN_FLIGHT.format(owner="$1::text", kinds="$2::text[]"))
    async with job_database.durable.acquire() as conn:
        assert await count.value(conn, alice.id, kinds_in(DOCUMENTS)) == 1
        plan = await conn.fetch(f"EXPLAIN (ANALYZE, FORMAT TEXT) {count.sql}", alice.id, kinds_in(DOCUMENTS))
    [scan] = [line[0] for line in plan if "ix_job_in_flight" in line[0]]
    assert "Index" in scan


async def test_a_retry_is_released_soon_after_it_is_due(
    alice: Person,
    make_receiver: Callable[..., Awaitable[Receiver]],
    service: WebhookProcess,
    events: Events,
    rows: Rows,
) -> None:
    """The reconciler is woken then: its timer alone could be ten seconds late."""
    receiver = await make_receiver(500)
    await made(alice, receiver.url)
    async with service.running() as engine:
        await events.tell(fact(alice.id))
        await rows.until_all("SELECT failures FROM job WHERE lease_token IS NULL", [1])
        [(left,)] = await rows.all("SELECT extract(epoch FROM due_at - clock_timestamp())::float FROM job")
        [alarm] = engine.dispatcher._alarms.values()
        assert 0 < alarm.when() - asyncio.get_running_loop().time() - left < 1.0
