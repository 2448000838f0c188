"""What a row keeps of the attempts that failed, for whoever asks why it takes so long."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Settled
from aperag_common.testing.factories import make_upload
from aperag_common.work import changes, failures
from aperag_common.work.claims import Claims
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.policy import WorkPolicy

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier


@pytest.fixture
def claims(engine: AsyncEngine, courier: Courier, metrics: Metrics) -> Claims:
    return Claims(engine, courier, WorkPolicy(), metrics, "worker-1")


async def uploaded(engine: AsyncEngine) -> str:
    async with engine.begin() as conn:
        return (await make_upload(conn)).document_id


async def parse_of(engine: AsyncEngine, document_id: str) -> Any:
    query = text("SELECT * FROM document_step WHERE document_id = :d AND kind = 'parse'")
    async with engine.connect() as conn:
        return (await conn.execute(query, {"d": document_id})).one()


async def work(claims: Claims, document_id: str, error: Exception | None = None) -> None:
    row = await parse_of(claims.engine, document_id)
    step = StepRow(**{name: row._mapping[name] for name in STEP_COLUMNS.split(", ")})
    try:
        async with claims.claim(step_dispatch(step, source="tests").message) as claim:
            if error is not None:
                raise error
            async with claim.finish():
                pass
    except Settled:
        pass


async def test_a_failed_attempt_is_kept_with_its_worker_reason_and_next_try(
    engine: AsyncEngine, claims: Claims
) -> None:
    document_id = await uploaded(engine)
    await work(claims, document_id, errors.UpstreamUnavailable("the object store does not answer"))
    row = await parse_of(engine, document_id)
    [attempt] = row.failed_attempts
    assert (attempt["attempt"], attempt["worker"]) == (1, "worker-1")
    assert attempt["message"] == "the object store does not answer"
    assert datetime.fromisoformat(attempt["ended"]) < datetime.fromisoformat(attempt["next_try_at"]) <= row.due_at
    await work(claims, document_id)
    after = await parse_of(engine, document_id)
    assert (after.status, after.worker, after.failed_attempts) == ("ACTIVE", "worker-1", row.failed_attempts)


async def test_an_attempt_that_nobody_reported_is_noted_by_the_next_claim(
    engine: AsyncEngine, claims: Claims, courier: Courier, metrics: Metrics
) -> None:
    document_id = await uploaded(engine)
    row = await parse_of(engine, document_id)
    lost = text(
        "UPDATE document_step SET lease_token = 'gone', lease_owner = 'worker-0', attempt = 1, status = 'CREATING',"
        " lease_until = clock_timestamp() - interval '1 s' WHERE id = :id"
    )
    async with engine.begin() as conn:
        await conn.execute(lost, {"id": row.id})
    await work(Claims(engine, courier, WorkPolicy(), metrics, "worker-2"), document_id)
    after = await parse_of(engine, document_id)
    assert [(a["attempt"], a["worker"], a["code"]) for a in after.failed_attempts] == [(1, "worker-0", "WORKER_LOST")]
    assert (after.status, after.worker, after.attempt) == ("ACTIVE", "worker-2", 2)


async def test_a_new_generation_starts_with_a_clean_history(engine: AsyncEngine, claims: Claims) -> None:
    document_id = await uploaded(engine)
    await work(claims, document_id, errors.UnsupportedMedia("nothing reads this"))
    assert len((await parse_of(engine, document_id)).failed_attempts) == 1
    async with engine.begin() as conn:
        await changes.delete(conn, document_id, first_due=timedelta(seconds=60))
    after = await parse_of(engine, document_id)
    assert (after.failed_attempts, after.worker) == ([], None)


async def test_a_dead_letter_names_the_step_its_place_and_its_worker(engine: AsyncEngine, claims: Claims) -> None:
    document_id = await uploaded(engine)
    await work(claims, document_id, errors.UnsupportedMedia("nothing reads this"))
    step = await parse_of(engine, document_id)
    async with engine.connect() as conn:
        letter = (await conn.execute(text("SELECT * FROM dead_letter WHERE row_id = :id"), {"id": step.id})).one()
    assert (letter.kind, letter.collection_id, letter.workflow_id) == ("parse", step.collection_id, step.workflow_id)
    assert (letter.failures, letter.attempt, letter.worker) == (1, 1, "worker-1")


async def test_a_step_with_a_policy_of_its_own_is_given_up_by_it(
    engine: AsyncEngine, courier: Courier, metrics: Metrics
) -> None:
    once = replace(WorkPolicy(), max_failures=1)
    claims = Claims(engine, courier, replace(WorkPolicy(), steps={"parse": once}), metrics, "worker-1")
    document_id = await uploaded(engine)
    await work(claims, document_id, errors.UpstreamUnavailable("the object store does not answer"))
    assert (await parse_of(engine, document_id)).status == "FAILED"
    assert claims.policy_of("vector", removing=False).max_failures == WorkPolicy().max_failures


async def test_the_clock_of_a_lease_that_was_set_back_costs_one_lease_at_most(
    engine: AsyncEngine, claims: Claims
) -> None:
    document_id = await uploaded(engine)
    row = await parse_of(engine, document_id)
    ahead = text(
        "UPDATE document_step SET lease_token = 'other', lease_owner = 'worker-0', status = 'CREATING',"
        " lease_until = clock_timestamp() + interval '1 h' WHERE id = :id"
    )
    async with engine.begin() as conn:
        await conn.execute(ahead, {"id": row.id})
    step = StepRow(**{name: row._mapping[name] for name in STEP_COLUMNS.split(", ")})
    with pytest.raises(Settled) as told:
        async with claims.claim(step_dispatch(step, source="tests").message):
            pass
    settlement = told.value.settlement
    assert not isinstance(settlement, Ack)
    assert settlement.delay == WorkPolicy().lease


async def test_two_deliveries_that_find_the_tries_used_up_give_the_step_up_once(
    engine: AsyncEngine, claims: Claims
) -> None:
    document_id = await uploaded(engine)
    used_up = text("UPDATE document_step SET attempt = :most, status = 'CREATING' WHERE kind = 'parse'")
    async with engine.begin() as conn:
        await conn.execute(used_up, {"most": WorkPolicy().max_attempts})
    row = await parse_of(engine, document_id)
    step = StepRow(**{name: row._mapping[name] for name in STEP_COLUMNS.split(", ")})
    command = step_dispatch(step, source="tests").message
    await asyncio.gather(failures.record_lost(claims, command), failures.record_lost(claims, command))
    async with engine.connect() as conn:
        letters = await conn.execute(text("SELECT code FROM dead_letter WHERE row_id = :id"), {"id": row.id})
        assert list(letters.scalars()) == ["WORKER_LOST"]
