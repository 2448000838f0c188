"""A database clock that was set back: times that lie far ahead then hold no row up for long."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common.bus.delivery import Ack, Nak, Settled
from aperag_common.db.models.base import Lane
from aperag_common.testing.factories import make_collection, make_upload
from aperag_common.testing.steps import Gate, Steps
from aperag_common.work import changes
from aperag_common.work.claims import Claims
from aperag_common.work.driven import DrivenRows
from aperag_common.work.driven_tables import PURGE
from aperag_common.work.policy import WorkPolicy
from aperag_reconciler.redrive.redrive import Redrive

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier

DUE = timedelta(seconds=60)
LEASE = WorkPolicy().lease.total_seconds()
AHEAD = "UPDATE document_step SET {} WHERE kind = 'parse'"


@pytest.fixture
def redrive(engine: AsyncEngine, courier: Courier) -> Redrive:
    return Redrive(engine, courier, WorkPolicy())


@pytest.fixture
def steps(engine: AsyncEngine, courier: Courier, metrics: Metrics) -> Steps:
    return Steps(engine, Claims(engine, courier, WorkPolicy(), metrics, "worker-1"))


async def execute(engine: AsyncEngine, sql: str) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql))


async def waits(engine: AsyncEngine, table: str = "document_step WHERE kind = 'parse'") -> Any:
    """Seconds until the row is due, and until its lease ends."""
    async with engine.connect() as conn:
        query = f"""
            SELECT extract(epoch FROM due_at - clock_timestamp())::float AS due,
                extract(epoch FROM lease_until - clock_timestamp())::float AS lease FROM {table}
        """
        return (await conn.execute(text(query))).one()


async def test_a_row_due_far_ahead_is_due_soon(engine: AsyncEngine, steps: Steps, redrive: Redrive) -> None:
    await steps.upload()
    await execute(engine, AHEAD.format("due_at = clock_timestamp() + interval '1 day'"))
    await redrive.run()
    assert (await waits(engine)).due <= DUE.total_seconds()


async def test_two_redrives_pull_many_rows_in(engine: AsyncEngine, courier: Courier, redrive: Redrive) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        for _ in range(30):
            await make_upload(conn, collection_id=collection_id)
    await execute(engine, AHEAD.format("due_at = clock_timestamp() + interval '1 day'"))
    await asyncio.gather(redrive.run(), Redrive(engine, courier, WorkPolicy()).run())
    await redrive.run()
    async with engine.connect() as conn:
        far = text("SELECT count(*) FROM document_step WHERE kind = 'parse' AND due_at > clock_timestamp() + :due")
        assert (await conn.execute(far, {"due": DUE})).scalar_one() == 0


async def test_what_a_policy_sets_is_left_alone(engine: AsyncEngine, steps: Steps, redrive: Redrive) -> None:
    await steps.upload(pace=changes.Pace(Lane.INTERACTIVE, in_flight_per_owner=32, first_due=timedelta(minutes=10)))
    before = (await waits(engine)).due
    await redrive.run()
    assert before - 60 < (await waits(engine)).due <= before
    async with engine.connect() as conn:
        infinite = text("SELECT count(*) FROM document_step WHERE due_at = 'infinity'")
        assert (await conn.execute(infinite)).scalar_one() == 2


async def test_a_dead_holders_lease_ends_within_a_lease(engine: AsyncEngine, steps: Steps, redrive: Redrive) -> None:
    document = (await steps.upload()).document_id
    far = "lease_token = 'dead', lease_until = clock_timestamp() + interval '3 min', status = 'CREATING', attempt = 1,"
    await execute(engine, AHEAD.format(f"{far} due_at = clock_timestamp() + interval '185 s'"))
    put_off = await steps.work(await steps.command(document))
    assert isinstance(put_off, Nak)
    assert put_off.delay.total_seconds() <= LEASE
    await redrive.run()
    found = await waits(engine)
    assert found.lease <= LEASE
    assert found.due <= LEASE + 5
    await execute(engine, AHEAD.format("lease_until = clock_timestamp()"))  # that much later
    assert await steps.work(await steps.command(document)) == Ack()


async def test_a_living_holder_keeps_its_lease_and_finishes(
    engine: AsyncEngine, steps: Steps, redrive: Redrive
) -> None:
    document = (await steps.upload()).document_id

    async def set_back(step: Any) -> None:
        far = "lease_until = clock_timestamp() + interval '1 day', due_at = clock_timestamp() + interval '1 day'"
        await execute(engine, AHEAD.format(far))
        await redrive.run()
        assert 0 < (await waits(engine)).lease <= LEASE
        await step.beat()
        assert not step.lost

    assert await steps.work(await steps.command(document), during=set_back) == Ack()


async def test_other_driven_rows_are_pulled_in_too(
    engine: AsyncEngine, courier: Courier, metrics: Metrics, redrive: Redrive
) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        owner = (await conn.execute(text("SELECT owner FROM collection"))).scalar_one()
        change = await changes.purge_collection(conn, collection_id, owner, first_due=DUE)
    rows = DrivenRows(engine, courier, WorkPolicy(), metrics, "worker-1", source="tests")
    command: Any = change.commands[0].message
    gate = Gate()

    async def work() -> Ack | Nak:
        try:
            async with rows.claim(PURGE, command) as held:
                await gate()
                async with held.finish():
                    pass
        except Settled as settled:
            return settled.settlement
        return Ack()

    working = asyncio.create_task(work())
    await gate.until_reached()
    far = "lease_until = clock_timestamp() + interval '1 day', due_at = clock_timestamp() + interval '1 day'"
    await execute(engine, f"UPDATE collection_purge SET {far}")
    put_off = await work()
    assert isinstance(put_off, Nak)
    assert put_off.delay.total_seconds() <= LEASE
    await redrive.run()
    found = await waits(engine, "collection_purge")
    assert found.lease <= LEASE
    assert found.due <= LEASE + 5
    gate.open()
    assert await working == Ack()
