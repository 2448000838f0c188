"""Whoever takes several jobs takes them in the order of their ids, as renewals do: else both would wait for each other."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text

from aperag_common.jobs.declared import PARSE
from aperag_testing.factories import make_collection, make_upload
from aperag_testing.steps import DUE, Gate, until_blocked
from aperag_work import cancel, leases, transitions
from aperag_work.database import driver
from aperag_work.policy import WorkPolicy
from aperag_work.transitions import Wish

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_testing.steps import Steps
    from aperag_work.database import Database
    from aperag_work.job import Job


async def want(conn: AsyncConnection, documents: Sequence[str]) -> None:
    wishes = [Wish(PARSE.name, document_id, "user") for document_id in documents]
    await transitions.want(await driver(conn), PARSE, wishes, first_due=DUE)


async def cancel_all(conn: AsyncConnection, documents: Sequence[str]) -> None:
    assert await cancel.cancel_documents(conn, documents, first_due=DUE)


async def delete(conn: AsyncConnection, documents: Sequence[str]) -> None:
    """Jobs go with their subjects' rows."""
    await conn.execute(text("DELETE FROM document WHERE id = ANY(:ids)"), {"ids": list(documents)})


async def new_document(steps: Steps, collection_id: str) -> str:
    async with steps.engine.begin() as conn:
        return (await make_upload(conn, collection_id=collection_id)).document_id


@pytest.mark.parametrize("take", [want, cancel_all, delete])
async def test_renewals_and_whoever_takes_several_jobs_do_not_wait_for_each_other(
    steps: Steps, job_database: Database, take: Callable[[AsyncConnection, Sequence[str]], Awaitable[None]]
) -> None:
    async with steps.engine.begin() as conn:
        collection_id = await make_collection(conn)
    gates = [Gate(), Gate()]
    # As they were made, and by their documents, the later one comes first.
    made = sorted([await new_document(steps, collection_id), await new_document(steps, collection_id)])
    for document_id, job_id in zip(made, ("jobz", "joba"), strict=True):
        query = "UPDATE job SET id = :id WHERE subject_id = :document AND kind = 'parse'"
        await steps.change(query, id=job_id, document=document_id)
    jobs: list[Job] = []

    async def during(gate: Gate, job: Job) -> None:
        jobs.append(job)
        await gate()

    working = []
    for document_id, gate in zip(made, gates, strict=True):
        command = await steps.command(document_id)
        working.append(asyncio.create_task(steps.work(command, during=lambda job, gate=gate: during(gate, job))))
        await gate.until_reached()
    first, second = sorted((job.lease for job in jobs), key=lambda lease: lease.row.id)
    policy = WorkPolicy()
    async with job_database.durable.transaction() as renewing:
        await leases.renew(renewing, [first], policy)
        taking = asyncio.create_task(_in_transaction(steps, take, made))
        await until_blocked(steps.engine)
        assert await leases.renew(renewing, [second], policy)
    async with asyncio.timeout(30):
        await taking
    for gate in gates:
        gate.open()
    assert [(await it).outcome for it in working] == ["superseded", "superseded"]


async def _in_transaction(
    steps: Steps, take: Callable[[AsyncConnection, Sequence[str]], Awaitable[None]], documents: Sequence[str]
) -> None:
    async with steps.engine.begin() as conn:
        await take(conn, documents)
