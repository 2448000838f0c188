"""Claim, finish and fail of driven rows that are no document steps, against the real database."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text
from structlog.testing import capture_logs

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak, Settled
from aperag_common.db.models.base import StepStatus
from aperag_common.settings import WorkStep
from aperag_common.testing.factories import make_collection, make_user
from aperag_common.testing.steps import Gate, until_blocked
from aperag_common.work.driven import DrivenRows, raise_again
from aperag_common.work.driven_tables import SUMMARY, TABLES, TURN, DrivenRow
from aperag_common.work.policy import WorkPolicy
from aperag_reconciler.redrive import repository

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_common.work.courier import Courier
    from aperag_common.work.driven_tables import DrivenTable

DUE = timedelta(seconds=60)
ONCE = WorkPolicy(steps=dict.fromkeys((WorkStep.SUMMARIZE, WorkStep.PURGE, WorkStep.TURN), WorkPolicy(max_failures=1)))

Workers = Any


@pytest.fixture
def worker(engine: AsyncEngine, courier: Courier, metrics: Metrics) -> Callable[..., DrivenRows]:
    def make(name: str = "worker-1", policy: WorkPolicy | None = None) -> DrivenRows:
        return DrivenRows(engine, courier, policy or WorkPolicy(), metrics, name, source="tests")

    return make


@pytest.fixture(params=list(TABLES.values()), ids=lambda t: t.name)
def table(request: pytest.FixtureRequest) -> DrivenTable:
    """Every promise holds for every driven table."""
    found: DrivenTable = request.param
    return found


async def made(engine: AsyncEngine, table: DrivenTable) -> str:
    """A row of which a first command has been published."""
    more = await _of_a_turn(engine) if table is TURN else {}
    async with engine.begin() as conn:
        row_id = await make_collection(conn)
        await conn.execute(
            text(
                f"""
                INSERT INTO {table.name} (id, owner, status, generation, observed_generation, dispatch, attempt,
                    failures, due_at, lane{"".join(f", {name}" for name in more)})
                SELECT id, owner, :status, 1, 0, 1, 0, 0, clock_timestamp() + interval '60 s', 'bulk'
                    {"".join(f", {value}" for value in more.values())}
                FROM collection WHERE id = :id
                """
            ),
            {"id": row_id, "status": table.wanted.value},
        )
    return row_id


async def _of_a_turn(engine: AsyncEngine) -> dict[str, str]:
    """The columns that only turns have, as SQL."""
    async with engine.begin() as conn:
        owner = await make_user(conn)
        await conn.execute(
            text(
                "INSERT INTO bot (id, owner, title, description, type, config) VALUES ('b', :o, 't', '', 'agent', '{}')"
            ),
            {"o": owner},
        )
        await conn.execute(
            text("INSERT INTO chat (id, owner, bot_id, title, peer_type) VALUES ('c', :o, 'b', 't', 'system')"),
            {"o": owner},
        )
    json = dict.fromkeys(("request", "rights"), "'{}'::jsonb")
    return {"chat_id": "'c'", "bot_id": "'b'", "ordinal": "0", "message_id": "'m'", "question": "'?'", **json}


async def row(engine: AsyncEngine, table: DrivenTable, row_id: str) -> Any:
    async with engine.connect() as conn:
        query = f"SELECT *, extract(epoch FROM due_at - clock_timestamp())::float AS due_in FROM {table.name} WHERE id = :id"
        return (await conn.execute(text(query), {"id": row_id})).one_or_none()


async def rows(engine: AsyncEngine, sql: str, **parameters: Any) -> list[Any]:
    async with engine.begin() as conn:
        result = await conn.execute(text(sql), parameters)
        return list(result.all()) if result.returns_rows else []


async def command(engine: AsyncEngine, table: DrivenTable, row_id: str) -> Any:
    found = await row(engine, table, row_id)
    values = {name: getattr(found, name) for name in DrivenRow.__dataclass_fields__}
    return table.dispatch(DrivenRow(**values), source="tests").message


async def work(
    by: DrivenRows, table: DrivenTable, message: Any, *, during: Any = None, error: Exception | None = None
) -> Any:
    """What the message is told."""
    try:
        async with by.claim(table, message) as held:
            if during is not None:
                await during(held)
            if error is not None:
                raise error
            async with held.finish():
                pass
    except Settled as settled:
        return settled.settlement
    return Ack()


async def test_success_settles_the_row_or_removes_it(engine: AsyncEngine, worker: Workers, table: DrivenTable) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    assert await work(worker(), table, message) == Ack()
    after = await row(engine, table, row_id)
    if table.wanted is StepStatus.DELETING:
        assert after is None
    else:
        assert (after.status, after.observed_generation, after.lease_token) == ("ACTIVE", 1, None)
        assert (after.attempt, after.worker) == (1, "worker-1")
    again = await work(worker(), table, message)
    assert again == Ack(outcome="superseded" if after is None else "settled")


@pytest.mark.parametrize("superseded", [False, True])
async def test_an_unforeseen_error_is_logged_with_its_stack_unless_the_work_was_in_vain(
    engine: AsyncEngine, worker: Workers, table: DrivenTable, *, superseded: bool
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)

    async def supersede(_: Any) -> None:
        if superseded:
            await rows(engine, f"UPDATE {table.name} SET generation = generation + 1, lease_token = NULL")

    with capture_logs() as lines:
        answer = await work(worker(), table, message, during=supersede, error=RuntimeError("gone"))
    assert answer.outcome == ("superseded" if superseded else "retry")
    events = {it["event"]: it["log_level"] for it in lines}
    assert ("row.failed_unexpectedly" in events) is not superseded
    assert events.get("row.failed_in_vain") == ("info" if superseded else None)


async def test_a_live_lease_puts_a_second_worker_off_and_counts_no_attempt(
    engine: AsyncEngine, worker: Workers, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    async with worker().claim(table, message) as held:
        answer = await work(worker("worker-2"), table, message)
        assert isinstance(answer, Nak)
        assert answer.outcome == "leased"
        assert (await row(engine, table, row_id)).attempt == 1
        async with held.finish():
            pass


async def test_of_two_claims_at_once_one_works(engine: AsyncEngine, worker: Workers, table: DrivenTable) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    gate = Gate()
    first = asyncio.create_task(work(worker("a"), table, message, during=gate))
    await gate.until_reached()
    others = await asyncio.gather(*(work(worker(f"b{n}"), table, message) for n in range(4)))
    assert {answer.outcome for answer in others} == {"leased"}
    gate.open()
    assert await first == Ack()


async def test_a_zombie_writes_nothing_over_the_worker_that_took_over(
    engine: AsyncEngine, worker: Workers, metrics: Metrics, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    gone = worker("zombie", WorkPolicy(lease=timedelta(0)))
    with pytest.raises(Settled) as late:
        async with gone.claim(table, message) as held:  # its lease ends at once
            await rows(engine, f"UPDATE {table.name} SET lease_token = 'other' WHERE id = :id", id=row_id)
            async with held.finish() as ending:
                await ending.conn.execute(text("UPDATE collection SET title = 'zombie'"))
    assert late.value.settlement == Ack(outcome="superseded")
    assert (await row(engine, table, row_id)).lease_token == "other"
    assert [r.title for r in await rows(engine, "SELECT title FROM collection")] == ["tests"]
    assert metrics.fence_rejects.labels(table.name)._value.get() == 1


async def test_a_beat_renews_the_lease_and_one_that_finds_it_gone_stops_the_work(
    engine: AsyncEngine, worker: Workers, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)

    async def beaten(held: Any) -> None:
        await rows(engine, f"UPDATE {table.name} SET due_at = clock_timestamp() WHERE id = :id", id=row_id)
        await held.beat()
        assert (await row(engine, table, row_id)).due_in > 25
        await rows(engine, f"UPDATE {table.name} SET generation = generation + 1 WHERE id = :id", id=row_id)
        await held.beat()
        await asyncio.sleep(0)
        pytest.fail("the work went on")

    assert await work(worker(), table, message, during=beaten) == Ack(outcome="superseded")


async def test_a_passing_failure_is_tried_again_and_told_of(
    engine: AsyncEngine, worker: Workers, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    answer = await work(worker(), table, message, error=errors.Busy("no room"))
    assert isinstance(answer, Nak)
    after = await row(engine, table, row_id)
    assert (after.status, after.failures, after.attempt, after.lease_token) == (table.wanted.value, 1, 1, None)
    assert (after.error_code, after.error_message) == ("BUSY", "no room")
    [attempt] = after.failed_attempts
    assert (attempt["attempt"], attempt["worker"], attempt["code"]) == (1, "worker-1", "BUSY")
    assert attempt["next_try_at"] is not None


async def test_a_long_delay_is_left_to_the_redrive(engine: AsyncEngine, worker: Workers, table: DrivenTable) -> None:
    row_id = await made(engine, table)
    slow = errors.RateLimited("later", retry_after=timedelta(seconds=40))
    assert await work(worker(), table, await command(engine, table, row_id), error=slow) == Ack(outcome="retry_later")
    assert 20 < (await row(engine, table, row_id)).due_in <= 40
    await rows(engine, f"UPDATE {table.name} SET due_at = clock_timestamp()")
    async with engine.begin() as conn:
        [again] = await repository.take_lost(conn, table.name, WorkPolicy(), limit=10, source="tests")
    assert (again.row_id, again.generation, again.dispatch) == (row_id, 1, 2)


async def test_no_delay_asked_for_is_longer_than_a_clock_set_back_can_be_told_from(
    engine: AsyncEngine, worker: Workers, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    for_ever = errors.RateLimited("tomorrow", retry_after=timedelta(days=1))
    await work(worker(), table, await command(engine, table, row_id), error=for_ever)
    async with engine.begin() as conn:
        assert await repository.pull_in(conn, table.name, WorkPolicy(), limit=10) == 0
    assert (await row(engine, table, row_id)).due_in <= WorkPolicy().max_due.total_seconds()


@pytest.mark.parametrize(
    ("policy", "error"),
    [(ONCE, errors.Busy("no room")), (WorkPolicy(), errors.Gone("gone")), (ONCE, RuntimeError("unforeseen"))],
    ids=["budget spent", "terminal", "unforeseen"],
)
async def test_a_final_failure_leaves_one_dead_letter_and_its_event(
    engine: AsyncEngine, worker: Workers, table: DrivenTable, policy: WorkPolicy, error: Exception
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    assert await work(worker(policy=policy), table, message, error=error) == Ack(outcome="failed")
    after = await row(engine, table, row_id)
    assert (after.status, after.observed_generation, after.failures) == ("FAILED", 1, 1)
    [letter] = await rows(engine, "SELECT * FROM dead_letter")
    assert (letter.kind, letter.row_id, letter.generation) == (table.name, row_id, 1)
    assert letter.collection_id == (row_id if table.of_collection else None)
    assert (letter.code, letter.attempt, letter.failures, letter.worker) == (after.error_code, 1, 1, "worker-1")
    [told] = await rows(engine, "SELECT payload FROM outbox")
    assert (told.payload["type"], told.payload["data"]["dead_letter_id"]) == ("step.dead_lettered", str(letter.id))
    assert await work(worker(), table, message) == Ack(outcome="settled")


async def test_workers_that_die_use_the_row_up_and_two_who_see_it_leave_one_letter(
    engine: AsyncEngine, worker: Workers, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    mortal = WorkPolicy(steps={table.step: WorkPolicy(max_attempts=2)})
    died = (
        f"UPDATE {table.name} SET lease_token = 'x', lease_owner = 'dead', lease_until = clock_timestamp(), attempt = 2"
    )
    await rows(engine, died)
    answers = await asyncio.gather(*(work(worker(policy=mortal), table, message) for _ in range(3)))
    assert Ack(outcome="failed") in answers
    assert (await row(engine, table, row_id)).error_code == "WORKER_LOST"
    assert len(await rows(engine, "SELECT 1 FROM dead_letter")) == 1


async def test_an_attempt_that_nobody_reported_is_noted_by_the_next(
    engine: AsyncEngine, worker: Workers, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    died = (
        f"UPDATE {table.name} SET lease_token = 'x', lease_owner = 'dead', lease_until = clock_timestamp(), attempt = 1"
    )
    await rows(engine, died)

    async def noted(_: Any) -> None:
        now = await row(engine, table, row_id)
        assert [(it["worker"], it["code"]) for it in now.failed_attempts] == [("dead", "WORKER_LOST")]
        assert now.attempt == 2

    assert await work(worker(), table, message, during=noted) == Ack()


async def test_a_worker_that_is_stopped_gives_back_without_an_attempt(
    engine: AsyncEngine, worker: Workers, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    gate = Gate()
    task = asyncio.create_task(work(worker(), table, await command(engine, table, row_id), during=gate))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after = await row(engine, table, row_id)
    assert (after.attempt, after.lease_token, after.status) == (0, None, table.wanted.value)


async def test_a_worker_stopped_while_it_claims_leaves_no_lease(
    engine: AsyncEngine, worker: Workers, table: DrivenTable
) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    async with engine.begin() as holding:
        await holding.execute(text(f"SELECT 1 FROM {table.name} FOR UPDATE"))
        task = asyncio.create_task(work(worker(), table, message))
        await until_blocked(engine)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after = await row(engine, table, row_id)
    assert (after.attempt, after.lease_token) == (0, None)


async def test_a_failed_row_is_raised_again_once(engine: AsyncEngine, worker: Workers, table: DrivenTable) -> None:
    row_id = await made(engine, table)
    message = await command(engine, table, row_id)
    await work(worker(), table, message, error=errors.Gone("gone"))

    async def again() -> Any:
        async with engine.begin() as conn:
            return await raise_again(conn, table, row_id, first_due=DUE, source="tests", generation=1)

    sent = [found for found in await asyncio.gather(again(), again(), again()) if found is not None]
    assert [(d.row_id, d.generation, d.dispatch) for d in sent] == [(row_id, 2, 1)]
    after = await row(engine, table, row_id)
    assert (after.status, after.attempt, after.failures, after.failed_attempts) == (table.wanted.value, 0, 0, [])
    assert (after.error_code, after.settled_at, after.observed_generation) == (None, None, 1)
    assert await work(worker(), table, message) == Ack(outcome="superseded")
    assert await work(worker(), table, sent[0].message) == Ack()


async def test_a_raise_fences_off_whoever_works_on_the_older_generation(engine: AsyncEngine, worker: Workers) -> None:
    row_id = await made(engine, SUMMARY)

    async def raised(_: Any) -> None:
        async with engine.begin() as conn:
            among = list(StepStatus)
            assert await raise_again(conn, SUMMARY, row_id, first_due=DUE, source="tests", among=among)

    message = await command(engine, SUMMARY, row_id)
    assert await work(worker(), SUMMARY, message, during=raised) == Ack(outcome="superseded")
    after = await row(engine, SUMMARY, row_id)
    assert (after.status, after.generation, after.observed_generation) == ("PENDING", 2, 0)
