"""Servers that go away under load and come back, and a worker that stands still while others take over."""

from __future__ import annotations

import asyncio
import shutil
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_testing.waiting import until

if TYPE_CHECKING:
    from aperag_standalone.nats import NatsServer

System = Any
Shelf = Any

pytestmark = pytest.mark.timeout(300)

FIVE_MINUTES = 300.0


async def documents(system: System, status: str) -> int:
    query = text("SELECT count(*) FROM document WHERE status = :status")
    async with system.rows.connect() as conn:
        return int((await conn.execute(query, {"status": status})).scalar_one())


async def some_complete(system: System, number: int) -> None:
    async def enough() -> bool:
        return await documents(system, "COMPLETE") >= number

    await until(enough, within=120)


async def test_a_restarted_nats_server_costs_nothing(system: System, shelf: Shelf) -> None:
    await shelf.add(10)
    await some_complete(system, 2)
    await asyncio.to_thread(system.nats_server.kill)
    await shelf.add(5)
    system.nats_server.start()
    await shelf.kept()


@pytest.mark.long
@pytest.mark.timeout(900)
async def test_a_nats_server_that_is_away_for_five_minutes_costs_nothing_but_the_time(
    system: System, shelf: Shelf, nats_server: NatsServer
) -> None:
    """Longer than clients reconnect by default, than the dedup window, than most leases and due times."""
    await shelf.add(10)
    await some_complete(system, 2)
    await asyncio.to_thread(nats_server.kill)
    loop = asyncio.get_running_loop()
    back = loop.time() + FIVE_MINUTES
    while loop.time() < back:
        await shelf.add(1)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(min(10.0, max(back - loop.time(), 0.0))):
                await asyncio.Event().wait()
    nats_server.start()
    await shelf.kept()


@pytest.mark.long
async def test_a_stream_store_that_is_lost_while_work_waits_costs_nothing(
    system: System, shelf: Shelf, nats_server: NatsServer
) -> None:
    await shelf.add(10)
    await some_complete(system, 1)
    await asyncio.to_thread(nats_server.kill)
    shutil.rmtree(nats_server.store)
    nats_server.start()
    await shelf.add(2)
    await shelf.kept()
    async with system.rows.connect() as conn:
        assert (await conn.execute(text("SELECT DISTINCT epoch FROM stream_epoch"))).scalars().all() == [2]
        unrelayed = text("SELECT count(*) FROM outbox WHERE epoch IS DISTINCT FROM 2")

        async def replayed() -> bool:
            return bool((await conn.execute(unrelayed)).scalar_one() == 0)

        await until(replayed)


@pytest.mark.long
@pytest.mark.parametrize("how", ["restart", "kill"])
async def test_a_postgresql_that_is_restarted_under_load_costs_nothing(
    own_postgres: Any, system: System, shelf: Shelf, how: str
) -> None:
    await shelf.add(10)
    await some_complete(system, 2)
    if how == "restart":
        await asyncio.to_thread(own_postgres.stop)
    else:
        await asyncio.to_thread(own_postgres.kill)
    adding = asyncio.create_task(shelf.add(5))
    await system.not_ready("indexer")
    own_postgres.start()  # from this thread: a server ends with the thread that started it
    await adding
    await shelf.kept()


@pytest.mark.long
async def test_a_worker_that_stood_still_longer_than_its_lease_changes_nothing_when_it_goes_on(
    system: System, shelf: Shelf
) -> None:
    """As after a suspended machine: it believes in its leases until the database tells it otherwise."""
    await system.start("indexer-2")
    paused = system.services["indexer"]
    held: list[str] = []

    async def caught() -> bool:
        """Pause it, and look whether it happens to hold a lease then."""
        await shelf.add(3, words=20_000)
        paused.pause()
        async with system.rows.connect() as conn:
            query = text("SELECT id FROM job WHERE lease_owner = 'indexer' AND lease_token IS NOT NULL")
            held[:] = (await conn.execute(query)).scalars()
        if not held:
            paused.resume()
        return bool(held)

    await until(caught, within=120)
    await shelf.complete()
    async with system.rows.connect() as conn:
        query = text("SELECT DISTINCT worker FROM job WHERE id = ANY(:ids)")
        assert (await conn.execute(query, {"ids": held})).scalars().all() == ["indexer-2"]
        before = (await conn.execute(text("SELECT id, xmin::text FROM job ORDER BY id"))).all()
    paused.resume()

    async def noticed() -> bool:
        refused = await paused.metric("aperag_fence_rejects_total{")
        return bool(refused + await paused.metric("aperag_leases_lost_total{") >= len(held))

    await until(noticed, within=120)
    await shelf.kept()
    async with system.rows.connect() as conn:
        after = (await conn.execute(text("SELECT id, xmin::text FROM job ORDER BY id"))).all()
    assert after == before
