"""A database clock that was set back: times that lie far ahead then hold no job up for long."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from sqlalchemy import text

from aperag_common.bus.delivery import Ack, Nak
from aperag_common.db.models.base import Lane
from aperag_common.jobs.declared import COLLECTION_PURGE
from aperag_common.jobs.kind import Wanted
from aperag_testing.factories import make_collection, make_upload
from aperag_testing.steps import Gate, attempt
from aperag_work import changes
from aperag_work.completion import Completion
from aperag_work.opening import Admission
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.steps import Steps
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.engine import Engine
    from aperag_work.job import Job

DUE = timedelta(seconds=60)
LEASE = WorkPolicy().lease.total_seconds()
AHEAD = "UPDATE job SET {} WHERE kind = 'parse'"


async def execute(engine: AsyncEngine, sql: str) -> None:
    async with engine.begin() as conn:
        await conn.execute(text(sql))


async def waits(engine: AsyncEngine, kind: str = "parse") -> Any:
    """Seconds until the job is due, and until its lease ends."""
    async with engine.connect() as conn:
        query = """
            SELECT extract(epoch FROM due_at - clock_timestamp())::float AS due,
                extract(epoch FROM lease_until - clock_timestamp())::float AS lease FROM job WHERE kind = :kind
        """
        return (await conn.execute(text(query), {"kind": kind})).one()


async def test_a_job_due_far_ahead_is_due_soon(engine: AsyncEngine, steps: Steps, redrive: Redrive) -> None:
    await steps.upload()
    await execute(engine, AHEAD.format("due_at = clock_timestamp() + interval '1 day'"))
    await redrive.run()
    assert (await waits(engine)).due <= DUE.total_seconds()


async def test_two_redrives_pull_many_jobs_in(
    engine: AsyncEngine, job_database: Database, dispatcher: Dispatcher, redrive: Redrive
) -> None:
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        for _ in range(30):
            await make_upload(conn, collection_id=collection_id)
    await execute(engine, AHEAD.format("due_at = clock_timestamp() + interval '1 day'"))
    await asyncio.gather(redrive.run(), Redrive(job_database, dispatcher, WorkPolicy()).run())
    await redrive.run()
    async with engine.connect() as conn:
        far = text("SELECT count(*) FROM job WHERE kind = 'parse' AND due_at > clock_timestamp() + :due")
        assert (await conn.execute(far, {"due": DUE})).scalar_one() == 0


async def test_what_a_policy_sets_is_left_alone(engine: AsyncEngine, steps: Steps, redrive: Redrive) -> None:
    await steps.upload(admission=Admission(Lane.INTERACTIVE, in_flight_per_owner=32, first_due=timedelta(minutes=10)))
    before = (await waits(engine)).due
    await redrive.run()
    assert before - 60 < (await waits(engine)).due <= before
    async with engine.connect() as conn:
        infinite = text("SELECT count(*) FROM job WHERE due_at = 'infinity'")
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
    assert await steps.work(await steps.command(document)) == Ack(outcome="done")


async def test_a_living_holder_keeps_its_lease_and_finishes(
    engine: AsyncEngine, steps: Steps, redrive: Redrive
) -> None:
    document = (await steps.upload()).document_id

    async def set_back(job: Job) -> None:
        far = "lease_until = clock_timestamp() + interval '1 day', due_at = clock_timestamp() + interval '1 day'"
        await execute(engine, AHEAD.format(far))
        await redrive.run()
        assert 0 < (await waits(engine)).lease <= LEASE
        await steps.worker.renew()
        assert not job.lost

    assert await steps.work(await steps.command(document), during=set_back) == Ack(outcome="done")


async def test_jobs_of_no_document_are_pulled_in_too(engine: AsyncEngine, worker: Engine, redrive: Redrive) -> None:
    gate = Gate()

    async def run(_: Job) -> Completion:
        await gate()
        return Completion()

    worker.handle(COLLECTION_PURGE, run, wanted=Wanted.ABSENT)
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        owner = (await conn.execute(text("SELECT owner FROM collection"))).scalar_one()
        change = await changes.purge_collection(conn, collection_id, owner, first_due=DUE)
    [command] = change.commands
    working = asyncio.create_task(attempt(worker, command.message))
    await gate.until_reached()
    far = "lease_until = clock_timestamp() + interval '1 day', due_at = clock_timestamp() + interval '1 day'"
    await execute(engine, f"UPDATE job SET {far}")
    put_off = await attempt(worker, command.message)
    assert isinstance(put_off, Nak)
    assert put_off.delay.total_seconds() <= LEASE
    await redrive.run()
    found = await waits(engine, COLLECTION_PURGE.name)
    assert found.lease <= LEASE
    assert found.due <= LEASE + 5
    gate.open()
    assert await working == Ack(outcome="done")
