"""Steps that are claimed or end together: one statement or transaction, each its own outcome."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Settled
from aperag_common.testing.factories import make_collection, make_upload
from aperag_common.work import lease
from aperag_common.work.claims import Claims, StepClaim
from aperag_common.work.dispatch import STEP_COLUMNS, StepRow, step_dispatch
from aperag_common.work.finisher import Finished, Finisher
from aperag_common.work.policy import WorkPolicy

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.events.commands import StepCommand
    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier

POLICY = WorkPolicy()


@pytest.fixture
def claims(engine: AsyncEngine, courier: Courier, metrics: Metrics) -> Claims:
    return Claims(engine, courier, POLICY, metrics, "worker-1")


class Written:
    """Writes nothing, but fails where a result is "bad"; the first transaction waits for ``open``."""

    def __init__(self) -> None:
        self.transactions: list[list[str]] = []
        self.started = asyncio.Event()
        self.open = asyncio.Event()

    async def __call__(self, conn: AsyncConnection, finished: Sequence[Finished[str]]) -> None:
        self.transactions.append(sorted(f.result for f in finished))
        self.started.set()
        await self.open.wait()
        if any(f.result == "bad" for f in finished):
            await conn.execute(text("SELECT 1 / 0"))


async def parses(engine: AsyncEngine, count: int) -> list[StepCommand]:
    """The parse commands of as many new documents of one collection."""
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        changes = [await make_upload(conn, collection_id=collection_id) for _ in range(count)]
    return [change.commands[0].message for change in changes]  # type: ignore[misc]  # a parse is a step's command


async def statuses(engine: AsyncEngine, table: str = "document") -> dict[str, str]:
    column = "id" if table == "document" else "document_id"
    where = "" if table == "document" else "WHERE kind = 'parse'"
    async with engine.connect() as conn:
        return {row[0]: row[1] for row in await conn.execute(text(f"SELECT {column}, status FROM {table} {where}"))}


async def end(finisher: Finisher[str], step: StepClaim, result: str) -> Any:
    """What the step's message would be told."""
    try:
        await finisher.finish(step, result)
    except Settled as settled:
        return settled.settlement
    return Ack()


async def test_steps_that_end_together_share_a_transaction(engine: AsyncEngine, claims: Claims) -> None:
    written = Written()
    finisher = Finisher(claims, written)
    async with AsyncExitStack() as stack:
        steps = [await stack.enter_async_context(claims.claim(c)) for c in await parses(engine, 4)]
        first = asyncio.create_task(end(finisher, steps[0], "0"))
        await written.started.wait()
        later = [asyncio.create_task(end(finisher, step, str(i))) for i, step in enumerate(steps[1:], start=1)]
        await asyncio.wait({asyncio.create_task(asyncio.to_thread(lambda: None))})
        written.open.set()
        assert [await first, *[await task for task in later]] == [Ack()] * 4
    assert written.transactions == [["0"], ["1", "2", "3"]]
    assert set((await statuses(engine, "document_step")).values()) == {"ACTIVE"}
    async with engine.connect() as conn:
        events = await conn.execute(
            text("SELECT payload->>'subject' FROM outbox WHERE payload->>'type' = 'document.parsed'")
        )
        assert sorted(events.scalars()) == sorted(step.row.document_id for step in steps)


async def test_a_result_that_cannot_be_written_fails_alone(engine: AsyncEngine, claims: Claims) -> None:
    written = Written()
    finisher = Finisher(claims, written)
    commands = await parses(engine, 3)

    async def work(command: StepCommand, result: str) -> Any:
        try:
            async with claims.claim(command) as step:
                await finisher.finish(step, result)
        except Settled as settled:
            return settled.settlement.outcome
        return "done"

    first = asyncio.create_task(work(commands[0], "first"))
    await written.started.wait()
    later = [asyncio.create_task(work(c, r)) for c, r in zip(commands[1:], ("bad", "good"), strict=True)]
    while len(claims.held) < 3:
        await asyncio.to_thread(lambda: None)
    written.open.set()
    assert [await first, *[await task for task in later]] == ["done", "retry", "done"]
    by_document = await statuses(engine, "document_step")
    assert [by_document[c.data.document_id] for c in commands] == ["ACTIVE", "PENDING", "ACTIVE"]


async def test_an_older_generation_that_ends_with_its_successor_changes_nothing(
    engine: AsyncEngine, claims: Claims
) -> None:
    [command] = await parses(engine, 1)
    document_id = command.data.document_id
    written = Written()
    written.open.set()
    finisher = Finisher(claims, written)
    async with claims.claim(command) as old:
        async with engine.begin() as conn:
            await conn.execute(
                text("UPDATE document_step SET generation = 2, status = 'PENDING', lease_token = NULL, lease_until = NULL "
                     "WHERE document_id = :d AND kind = 'parse'"), {"d": document_id})  # fmt: skip
            query = text(f"SELECT {STEP_COLUMNS} FROM document_step WHERE document_id = :d AND kind = 'parse'")
            row = (await conn.execute(query, {"d": document_id})).one()
        newer = step_dispatch(StepRow(**row._mapping), source="tests").message
        async with claims.claim(newer) as new:  # type: ignore[arg-type]  # a parse is a step's command
            told = await asyncio.gather(end(finisher, old, "old"), end(finisher, new, "new"))
    assert told == [Ack(outcome="superseded"), Ack()]
    assert [result for transaction in written.transactions for result in transaction] == ["new"]


async def test_a_step_asked_for_twice_at_once_goes_to_one(engine: AsyncEngine) -> None:
    [command] = await parses(engine, 1)
    data = command.data
    wanted = [lease.Wanted(data.row_id, 1, data.document_id, token * 32, removing=False) for token in "ab"]
    taken = await lease.take(engine, wanted, POLICY, owner="worker-1")
    assert sum(t is not None for t in taken) == 1
    async with engine.connect() as conn:
        attempt = (await conn.execute(text("SELECT attempt FROM document_step WHERE kind = 'parse'"))).scalar_one()
    assert attempt == 1


async def test_claims_at_once_take_what_they_may_and_make_its_documents_running(engine: AsyncEngine) -> None:
    commands = await parses(engine, 3)
    gone = commands[1].data.document_id
    async with engine.begin() as conn:
        await conn.execute(text("UPDATE document SET deleted_at = now() WHERE id = :id"), {"id": gone})
    wanted = [
        lease.Wanted(c.data.row_id, 1, c.data.document_id, f"{i}" * 32, removing=False) for i, c in enumerate(commands)
    ]
    taken = await lease.take(engine, wanted, POLICY, owner="worker-1")
    assert [t and t.token[0] for t in taken] == ["0", None, "2"]
    assert [t.subject.name for t in taken if t] == [f"{commands[i].data.document_id}.txt" for i in (0, 2)]
    found = await statuses(engine)
    assert [found[c.data.document_id] for c in commands] == ["RUNNING", "PENDING", "RUNNING"]


async def test_a_worker_that_stops_while_it_claims_gives_the_step_back(
    engine: AsyncEngine, claims: Claims, monkeypatch: pytest.MonkeyPatch
) -> None:
    [command] = await parses(engine, 1)
    take = lease.take
    asked = asyncio.Event()
    go_on = asyncio.Event()

    async def slow(*arguments: Any, **options: Any) -> Any:
        asked.set()
        await go_on.wait()
        return await take(*arguments, **options)

    async def work() -> None:
        async with claims.claim(command):
            message = "the claim was given up"
            raise errors.Terminal(message)

    monkeypatch.setattr(lease, "take", slow)
    task = asyncio.create_task(work())
    await asked.wait()
    task.cancel()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task
    async with engine.connect() as conn:
        row = (
            await conn.execute(text("SELECT status, attempt, lease_token FROM document_step WHERE kind = 'parse'"))
        ).one()
    assert tuple(row) == ("PENDING", 0, None)
