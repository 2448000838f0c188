"""Ends of steps that meet a beat, a shutdown, a lock or a lost answer: what is committed is never thrown away."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak, Settled
from aperag_common.testing.factories import KINDS, PACE, make_collection, make_upload
from aperag_common.testing.waiting import until
from aperag_common.work import changes, lease
from aperag_common.work.claims import Claims, StepClaim
from aperag_common.work.documents import lock_all
from aperag_common.work.finisher import Finisher
from aperag_common.work.policy import WorkPolicy

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_common.work.change import Change
    from aperag_common.work.courier import Courier
    from aperag_common.work.finisher import Finished


@pytest.fixture
def claims(engine: AsyncEngine, courier: Courier, metrics: Metrics) -> Claims:
    return Claims(engine, courier, WorkPolicy(), metrics, "worker-1")


@pytest.fixture
def delivered(claims: Claims, monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """What left this process after a commit."""
    kept: list[Change] = []
    monkeypatch.setattr(claims.courier, "deliver", lambda *changed: kept.extend(changed))
    return kept


async def parses(engine: AsyncEngine, count: int) -> list[Any]:
    """The commands that parse as many new documents of one collection, in the order of the documents' ids."""
    async with engine.begin() as conn:
        collection = await make_collection(conn)
        made = [await make_upload(conn, collection_id=collection) for _ in range(count)]
    return [change.commands[0].message for change in sorted(made, key=lambda change: change.document_id)]


async def row(engine: AsyncEngine, document_id: str) -> Any:
    query = "SELECT s.*, d.status AS document_status FROM document_step s JOIN document d ON d.id = s.document_id"
    async with engine.connect() as conn:
        found = await conn.execute(text(f"{query} WHERE d.id = :d AND s.kind = 'parse'"), {"d": document_id})
        return found.one()


async def settlement(work: Coroutine[Any, Any, None]) -> Any:
    try:
        await work
    except Settled as settled:
        return settled.settlement
    return Ack()


async def waits_for_lock(engine: AsyncEngine, number: int = 1) -> None:
    async def found() -> bool:
        query = text(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        )
        async with engine.connect() as conn:
            return (await conn.execute(query)).scalar_one() >= number

    await until(found)


class Writing:
    """A finisher's ``write`` that says when it is inside the transaction, and stays there until it may go on."""

    def __init__(self, claims: Claims) -> None:
        self.inside = asyncio.Event()
        self.go_on = asyncio.Event()
        self.finisher: Finisher[str] = Finisher(claims, self)

    async def __call__(self, conn: AsyncConnection, finished: Sequence[Finished[str]]) -> None:
        self.inside.set()
        await self.go_on.wait()


async def test_a_beat_that_meets_the_end_under_way_leaves_its_success_alone(
    engine: AsyncEngine, claims: Claims, delivered: list[Change]
) -> None:
    [command] = await parses(engine, 1)
    writing = Writing(claims)
    held: list[StepClaim] = []

    async def work() -> None:
        async with claims.claim(command) as step:
            held.append(step)
            await writing.finisher.finish(step, "")

    told = asyncio.create_task(settlement(work()))
    await writing.inside.wait()
    beat = asyncio.create_task(held[0].beat())
    await waits_for_lock(engine)
    writing.go_on.set()
    await beat
    assert await told == Ack()
    assert len(delivered) == 1
    assert not held[0].lost
    assert (await row(engine, command.data.document_id)).status == "ACTIVE"


async def test_a_beat_that_meets_a_failure_being_recorded_leaves_it_alone(
    engine: AsyncEngine, claims: Claims, delivered: list[Change]
) -> None:
    [command] = await parses(engine, 1)
    held: list[StepClaim] = []

    async def work() -> None:
        async with claims.claim(command) as step:
            held.append(step)
            raise errors.UnsupportedMedia("nothing reads this")

    async with engine.begin() as conn:
        [document_id] = await lock_all(conn, [command.data.document_id])
        told = asyncio.create_task(settlement(work()))
        await waits_for_lock(engine)
        await conn.execute(
            text("UPDATE document_step SET lease_token = 'other' WHERE document_id = :d"), {"d": document_id}
        )
        beat = asyncio.create_task(held[0].beat())
        await waits_for_lock(engine, 2)
    await beat
    assert await told == Ack(outcome="superseded")
    assert not held[0].lost


async def test_a_shutdown_during_the_end_still_tells_the_others_of_it(
    engine: AsyncEngine, claims: Claims, delivered: list[Change]
) -> None:
    [command] = await parses(engine, 1)
    writing = Writing(claims)

    async def work() -> None:
        async with claims.claim(command) as step:
            await writing.finisher.finish(step, "")

    task = asyncio.create_task(work())
    await writing.inside.wait()
    task.cancel()
    writing.go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert (await row(engine, command.data.document_id)).status == "ACTIVE"
    assert [change.document_id for change in delivered] == [command.data.document_id]


async def test_a_claim_whose_answer_was_lost_is_still_the_claimants(
    engine: AsyncEngine, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    commands = await parses(engine, 3)
    take, asked = lease.take, 0

    async def answers_lost_once(*arguments: Any, **named: Any) -> Any:
        nonlocal asked
        asked += 1
        taken = await take(*arguments, **named)
        if asked == 1:
            message = "the answer never came"
            raise ValueError(message)
        return taken

    monkeypatch.setattr(lease, "take", answers_lost_once)

    async def work(command: Any) -> None:
        async with claims.claim(command) as step, step.finish():
            pass

    assert await asyncio.gather(*(settlement(work(command)) for command in commands)) == [Ack()] * 3
    for command in commands:
        parse = await row(engine, command.data.document_id)
        assert (parse.status, parse.attempt, parse.failed_attempts) == ("ACTIVE", 1, [])


async def test_a_locked_document_holds_up_neither_the_claims_nor_the_ends_of_others(
    engine: AsyncEngine, claims: Claims, delivered: list[Change]
) -> None:
    commands = await parses(engine, 3)
    writing = Writing(claims)
    writing.go_on.set()
    claimed: set[str] = set()
    ended: set[str] = set()
    all_claimed = asyncio.Event()

    async def work(command: Any) -> None:
        async with claims.claim(command) as step:
            claimed.add(command.data.document_id)
            if len(claimed) == len(commands):
                all_claimed.set()
            await all_claimed.wait()
            await writing.finisher.finish(step, "")
        ended.add(command.data.document_id)

    locked = commands[0].data.document_id
    others = {command.data.document_id for command in commands[1:]}
    async with engine.begin() as conn:
        await lock_all(conn, [locked])
        tasks = [asyncio.create_task(settlement(work(command))) for command in commands]

        async def others_ended() -> bool:
            return ended == others

        await until(others_ended)
        assert (await row(engine, locked)).document_status == "PENDING"  # its claim left the lock alone
    assert await asyncio.gather(*tasks) == [Ack()] * 3
    assert ended == others | {locked}


async def test_a_claim_and_a_change_of_several_documents_do_not_deadlock(engine: AsyncEngine, claims: Claims) -> None:
    commands = await parses(engine, 2)
    first, second = (command.data.document_id for command in commands)
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE document SET status = 'RUNNING' WHERE id = :d"), {"d": first})

    async def work(command: Any) -> None:
        async with claims.claim(command) as step, step.finish():
            pass

    async with engine.begin() as conn:
        await lock_all(conn, [first, second])
        await conn.execute(text("SELECT 1 FROM document_step WHERE document_id = :d FOR UPDATE"), {"d": first})
        # A claim that held the second one's step and waited for the first one's would close a circle here.
        claiming = [asyncio.create_task(settlement(work(command))) for command in commands]
        assert isinstance(await claiming[0], Nak)
        await changes.rebuild(conn, second, kinds=KINDS, pace=PACE)
    await asyncio.gather(*claiming)
    async with engine.connect() as conn:
        query = text("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()")
        assert (await conn.execute(query)).scalar_one() == 0


async def test_a_claim_that_a_rebuild_overtakes_does_not_make_the_document_running(
    engine: AsyncEngine, claims: Claims
) -> None:
    [command] = await parses(engine, 1)
    document_id = command.data.document_id

    async def work() -> None:
        async with claims.claim(command):
            pass

    async with engine.begin() as conn:
        await changes.rebuild(conn, document_id, kinds=KINDS, pace=PACE)
        assert isinstance(await settlement(work()), Nak)
    assert await settlement(work()) == Ack(outcome="superseded")
    assert (await row(engine, document_id)).document_status == "PENDING"


async def test_a_lease_that_ends_while_its_reason_is_looked_up_is_asked_for_again(
    engine: AsyncEngine, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    [command] = await parses(engine, 1)
    execute = text("UPDATE document_step SET lease_token = 'other', lease_until = clock_timestamp() + interval '1 h'")
    async with engine.begin() as conn:
        await conn.execute(execute)
    holder = lease.holder

    async def after_its_end(of: AsyncEngine, row_id: str) -> Any:
        async with of.begin() as conn:
            await conn.execute(text("UPDATE document_step SET lease_token = NULL, lease_until = NULL"))
        return await holder(of, row_id)

    monkeypatch.setattr(lease, "holder", after_its_end)

    async def work() -> None:
        async with claims.claim(command):
            pass

    assert isinstance(await settlement(work()), Nak)


async def test_a_reason_that_quotes_a_broken_document_can_be_recorded(engine: AsyncEngine, claims: Claims) -> None:
    [command] = await parses(engine, 1)

    async def work() -> None:
        async with claims.claim(command):
            raise errors.CorruptDocument("expected a blank, not '\x00\ud800' at 1:3 " + "x" * 10_000)

    assert await settlement(work()) == Ack(outcome="failed")
    parse = await row(engine, command.data.document_id)
    assert (parse.status, parse.error_code) == ("FAILED", "CORRUPT_DOCUMENT")
    assert parse.error_message.startswith("expected a blank, not '\ufffd\ufffd' at 1:3")
