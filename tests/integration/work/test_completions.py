"""How an attempt that worked ends: under its fence, in one transaction with what it wrote, often with others."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.db.models.base import is_open
from aperag_common.events import facts
from aperag_common.events.fact import CollectionData
from aperag_common.jobs.declared import PARSE, TURN, USER_PURGE
from aperag_common.jobs.kind import REMOVED_AT_ONCE, Wanted
from aperag_testing.factories import make_collection, make_upload
from aperag_testing.jobs import order
from aperag_testing.steps import Gate, attempt, until_blocked
from aperag_testing.waiting import until
from aperag_work import handling
from aperag_work.completion import Completion
from aperag_work.document_rows import lock_all
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy
from aperag_work.transitions import Wish

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.events.commands import JobCommand
    from aperag_common.metrics import Metrics
    from aperag_testing.steps import MakeWorker, Steps
    from aperag_work.change import Change
    from aperag_work.completion import Completed
    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.job import Job
    from aperag_work.rows import Dispatch

SUPERSEDED = Ack(outcome="superseded")
LOCK = text("SELECT id FROM job WHERE id = :id FOR UPDATE NOWAIT")
FORGET = """
    UPDATE job SET status = :status, attempt = 0, worker = NULL, started_at = NULL, lease_token = NULL,
        lease_owner = NULL, lease_until = NULL, due_at = clock_timestamp() + interval '60 s' WHERE id = :id
"""


@pytest.fixture
def delivered(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> list[Change]:
    """What left this process after a commit."""
    kept: list[Change] = []
    monkeypatch.setattr(dispatcher, "deliver", lambda *changed: kept.extend(changed))
    return kept


class Written:
    """How often a completion wrote, in the fenced transaction."""

    def __init__(self, email: str = "written") -> None:
        self.times = 0
        self.email = email

    async def __call__(self, conn: Connection) -> None:
        self.times += 1
        await conn.execute("UPDATE users SET email = $1", self.email)


async def emails(steps: Steps) -> list[Any]:
    return await steps.column("SELECT DISTINCT email FROM users")


async def test_a_completion_settles_the_job_or_removes_it_and_a_second_delivery_changes_nothing(
    steps: Steps, ordered: Dispatch
) -> None:
    written = Written()
    assert await steps.work(ordered.message, ending=written) == Ack()
    assert await emails(steps) == ["written"]
    after = await steps.job(ordered.row.id)
    if ordered.row.declared.retention == REMOVED_AT_ONCE:
        assert after is None
        assert await steps.work(ordered.message, ending=written) == SUPERSEDED
    else:
        assert after is not None
        status = "DELETED" if ordered.row.removing else "ACTIVE"
        assert (after.status, after.observed_generation, after.due_in) == (status, ordered.row.generation, float("inf"))
        assert (after.attempt, after.worker, after.lease_token, after.lease_until) == (1, "worker-1", None, None)
        assert await steps.work(ordered.message, ending=written) == Ack(outcome="settled")
        assert await steps.job(ordered.row.id) == after
    assert written.times == 1


async def test_a_zombie_writes_nothing_over_the_worker_that_took_over(
    steps: Steps, metrics: Metrics, make_worker: MakeWorker, ordered: Dispatch
) -> None:
    zombie = make_worker("zombie", WorkPolicy(lease=timedelta(0)))  # its lease ends at once
    written, late = Written(), Written("late")

    async def taken_over(_: Job) -> None:
        assert await steps.work(ordered.message, ending=written) == Ack()

    assert await steps.work(ordered.message, by=zombie, during=taken_over, ending=late) == SUPERSEDED
    assert (await emails(steps), late.times) == (["written"], 0)
    assert metrics.registry.get_sample_value("aperag_fence_rejects_total", {"kind": ordered.row.kind}) == 1


async def test_a_claim_that_postgresql_forgot_is_completed_once_all_the_same(steps: Steps, ordered: Dispatch) -> None:
    """Claims are committed without waiting for the disk: one may be gone where PostgreSQL was killed."""
    written = Written()

    async def forgotten(job: Job) -> None:
        await steps.change(FORGET, id=job.row.id, status=ordered.row.status)

    assert await steps.work(ordered.message, during=forgotten, ending=written) == Ack()
    assert (written.times, await emails(steps)) == (1, ["written"])
    after = await steps.job(ordered.row.id)
    if after is not None:
        assert (after.observed_generation, after.attempt, after.worker) == (ordered.row.generation, 1, "worker-1")
        assert (after.lease_token, after.failed_attempts) == (None, [])
    again = await steps.work(ordered.message, ending=written)
    assert again.outcome == ("superseded" if after is None else "settled")
    ends = "SELECT count(*) FROM outbox WHERE payload->>'type' = ANY(ARRAY['document.parsed', 'index.removed'])"
    assert await steps.column(ends) == [1 if ordered.row.declared.aggregate == "document" else 0]


async def test_a_forgotten_claim_is_renewed_and_its_failure_is_recorded(steps: Steps, ordered: Dispatch) -> None:
    async def forgotten(job: Job) -> None:
        await steps.change(FORGET, id=job.row.id, status=ordered.row.status)
        await steps.worker.renew()
        renewed = await steps.job(job.row.id)
        assert renewed is not None
        assert (renewed.lease_token, renewed.attempt, job.lost) == (job.token, 1, False)
        await steps.change(FORGET, id=job.row.id, status=ordered.row.status)
        raise errors.Retryable("not now", retry_after=timedelta(seconds=5))

    settlement = await steps.work(ordered.message, during=forgotten)
    assert settlement == Nak(timedelta(seconds=5), outcome="retry")
    after = await steps.job(ordered.row.id)
    assert after is not None
    assert (after.failures, after.attempt, after.lease_token) == (1, 1, None)


async def test_what_follows_a_commit_cannot_undo_it(steps: Steps, ordered: Dispatch) -> None:
    async def breaks() -> None:
        raise RuntimeError("told nobody")

    async def done(_: Job) -> Completion:
        return Completion(after=breaks)

    assert await steps.work(ordered.message, during=done) == Ack()
    after = await steps.job(ordered.row.id)
    assert after is None or after.observed_generation == ordered.row.generation


@pytest.mark.parametrize("since", ["claimed", "completed", "raised"])
async def test_a_forgotten_claim_that_somebody_else_has_overtaken_completes_nothing(
    steps: Steps, make_worker: MakeWorker, ordered: Dispatch, since: str
) -> None:
    other, gate = make_worker("worker-2"), Gate()
    others: list[asyncio.Task[Any]] = []
    late = Written("late")

    async def forgotten(job: Job) -> None:
        await steps.change(FORGET, id=job.row.id, status=ordered.row.status)
        if since == "raised":
            await steps.change("UPDATE job SET generation = generation + 1 WHERE id = :id", id=job.row.id)
        elif since == "completed":
            assert await steps.work(ordered.message, by=other) == Ack()
        else:
            others.append(asyncio.create_task(steps.work(ordered.message, by=other, during=gate)))
            await gate.until_reached()

    assert await steps.work(ordered.message, during=forgotten, ending=late) == SUPERSEDED
    assert (late.times, await emails(steps)) == (0, [None])
    gate.open()
    assert [await other for other in others] == ([Ack()] if since == "claimed" else [])


async def test_a_renewal_that_meets_the_end_under_way_leaves_its_success_alone(
    engine: AsyncEngine, steps: Steps, delivered: list[Change], ordered: Dispatch
) -> None:
    held: list[Job] = []

    async def hold(job: Job) -> None:
        held.append(job)

    ending = Gate()
    working = asyncio.create_task(steps.work(ordered.message, during=hold, ending=ending))
    await ending.until_reached()
    renewal = asyncio.create_task(steps.worker.renew())
    await until_blocked(engine)
    ending.open()
    await renewal
    assert await working == Ack()
    assert not held[0].lost
    assert len(delivered) == 1


async def test_a_shutdown_during_the_end_still_tells_the_others_of_it(
    steps: Steps, delivered: list[Change], ordered: Dispatch
) -> None:
    ending = Gate()
    task = asyncio.create_task(steps.work(ordered.message, ending=ending))
    await ending.until_reached()
    task.cancel()
    ending.open()
    with pytest.raises(asyncio.CancelledError):
        await task
    after = await steps.job(ordered.row.id)
    assert after is None or after.observed_generation == ordered.row.generation
    assert len(delivered) == 1


async def test_events_and_jobs_that_follow_are_of_the_completions_transaction_and_the_rest_comes_after_it(
    engine: AsyncEngine, steps: Steps, delivered: list[Change]
) -> None:
    async with engine.begin() as conn:
        ordered = await order(conn, USER_PURGE, Wanted.ABSENT)
    row, seen = ordered.row, []
    data = CollectionData(collection_id=row.subject_id)
    event = facts.CollectionDeleted(
        source="tests", type=facts.CollectionDeleted.type_name, subject=row.subject_id, owner=row.owner, data=data
    )
    follow_up = Wish(TURN.name, "turn1", row.owner)

    async def after() -> None:
        seen.append((await steps.job(row.id), await steps.column("SELECT kind FROM job")))

    async def during(_: Job) -> Completion:
        return Completion(events=[event], follow_up=[follow_up], after=after, outcome="purged")

    async def breaks(conn: Connection) -> None:
        await conn.execute("SELECT 1 / 0")

    assert (await steps.work(ordered.message, during=during, ending=breaks)).outcome == "retry"
    assert (seen, await steps.column("SELECT id FROM outbox")) == ([], [])
    await steps.change("UPDATE job SET attempt = 0, failures = 0")
    delivered.clear()
    assert await steps.work(ordered.message, during=during) == Ack(outcome="purged")
    assert seen == [(None, ["turn"])]
    [change] = delivered
    assert [command.message.type for command in change.commands] == ["turn.run"]
    assert [told.id for told in change.events] == await steps.column("SELECT id::text FROM outbox")


class Together:
    """Writes nothing, but fails where a result is "bad"; the first transaction waits for ``open``."""

    def __init__(self, worker: Engine) -> None:
        self.worker = worker
        self.transactions: list[list[str]] = []
        self.results: dict[str, str] = {}
        self.waiting = 0
        self.first = Gate()
        worker.handle(PARSE, self.run, write=self.write)

    async def run(self, job: Job) -> Completion:
        self.waiting += 1
        return Completion(self.results.get(job.row.id, "good"))

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        self.transactions.append(sorted(it.result for it in completed))
        await self.first()
        if any(it.result == "bad" for it in completed):
            await conn.execute("SELECT 1 / 0")

    async def work(self, commands: Sequence[JobCommand], *results: str) -> list[str]:
        """Outcomes; the first one's transaction is under way while the others end."""
        self.results = {command.data.row_id: result for command, result in zip(commands, results, strict=True)}
        tasks = [asyncio.create_task(attempt(self.worker, commands[0]))]
        await self.first.until_reached()
        tasks += [asyncio.create_task(attempt(self.worker, command)) for command in commands[1:]]

        async def all_end() -> bool:
            return self.waiting == len(commands)

        await until(all_end, every=0.02)
        self.first.open()
        return [(await task).outcome for task in tasks]


@pytest.fixture
def together(job_database: Database, dispatcher: Dispatcher, metrics: Metrics) -> Together:
    return Together(Engine(job_database, dispatcher, WorkPolicy(), metrics, "worker-1", source="tests"))


async def parses(engine: AsyncEngine, count: int) -> list[JobCommand]:
    """The parse commands of as many new documents of one collection."""
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        made = [await make_upload(conn, collection_id=collection_id) for _ in range(count)]
    return [change.commands[0].message for change in made]


async def test_jobs_that_end_together_share_a_transaction_and_each_tells_its_own_end(
    engine: AsyncEngine, steps: Steps, together: Together
) -> None:
    commands = await parses(engine, 4)
    assert await together.work(commands, "0", "1", "2", "3") == ["done"] * 4
    assert together.transactions == [["0"], ["1", "2", "3"]]
    assert await steps.column("SELECT status FROM job WHERE kind = 'parse'") == ["ACTIVE"] * 4
    told = "SELECT payload->>'subject' FROM outbox WHERE payload->>'type' = 'document.parsed'"
    assert sorted(await steps.column(told)) == sorted(command.subject for command in commands)


async def test_a_result_that_cannot_be_written_fails_alone(
    engine: AsyncEngine, steps: Steps, together: Together
) -> None:
    commands = await parses(engine, 3)
    assert await together.work(commands, "first", "bad", "good") == ["done", "retry", "done"]
    jobs: list[Any] = [await steps.job(command.data.row_id) for command in commands]
    assert [job.status for job in jobs] == ["ACTIVE", "PENDING", "ACTIVE"]
    assert jobs[1].error_code == "UPSTREAM_UNAVAILABLE"


async def test_an_older_generation_that_ends_with_its_successor_changes_nothing(
    steps: Steps, make_worker: MakeWorker
) -> None:
    upload = await steps.upload()
    old, new = Gate(), Gate()
    written, late = Written(), Written("late")
    tasks = [asyncio.create_task(steps.work(upload.commands[0].message, during=old, ending=late))]
    await old.until_reached()
    rebuilt = await steps.rebuild(upload.document_id)
    tasks.append(asyncio.create_task(steps.work(rebuilt.commands[0].message, during=new, ending=written)))
    await new.until_reached()
    old.open()
    new.open()
    assert await asyncio.gather(*tasks) == [SUPERSEDED, Ack()]
    assert (written.times, late.times) == (1, 0)


async def test_a_locked_document_holds_up_neither_the_claims_nor_the_ends_of_others(
    engine: AsyncEngine, steps: Steps
) -> None:
    commands = await parses(engine, 3)
    gates = [Gate() for _ in commands]
    async with engine.begin() as conn:
        await lock_all(conn, [commands[0].subject])
        tasks = [asyncio.create_task(steps.work(it, during=gate)) for it, gate in zip(commands, gates, strict=True)]
        for gate in gates:
            await gate.until_reached()
        assert await steps.document_status(commands[0].subject) == "PENDING"  # its claim left the lock alone
        for gate in gates:
            gate.open()
        async with asyncio.timeout(30):
            assert await asyncio.gather(*tasks[1:]) == [Ack(), Ack()]
        assert not tasks[0].done()
    assert await tasks[0] == Ack()


async def test_work_that_is_done_is_not_done_again_because_the_database_restarts(
    steps: Steps, ordered: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    pool, left, worked = steps.worker.database.durable, [1, 2], []
    transaction = pool.transaction

    @asynccontextmanager
    async def away() -> AsyncIterator[Connection]:
        if left:
            left.pop()
            raise ConnectionResetError
        async with transaction() as conn:
            yield conn

    async def work(job: Job) -> None:
        worked.append(job)

    monkeypatch.setattr(pool, "transaction", away)
    monkeypatch.setattr(handling, "OUTAGE_SECONDS", (0.0, 0.0, 0.0))
    assert await steps.work(ordered.message, during=work) == Ack()
    assert (len(worked), left) == (1, [])


async def test_a_cancellation_that_escapes_a_handler_fails_its_attempt_and_stops_nothing_else(
    steps: Steps, ordered: Dispatch
) -> None:
    async def work(_: Job) -> None:
        raise asyncio.CancelledError

    settlement = await steps.work(ordered.message, during=work)
    assert isinstance(settlement, Nak)
    job: Any = await steps.job(ordered.row.id)
    assert is_open(job.status)
    assert (job.failures, job.lease_token) == (1, None)


@pytest.mark.parametrize("change", ["renew", "release"])
async def test_changes_of_many_jobs_lock_them_in_one_order(engine: AsyncEngine, steps: Steps, change: str) -> None:
    worker = steps.worker
    commands = sorted(await parses(engine, 2), key=lambda it: it.data.row_id, reverse=True)
    gates = [Gate() for _ in commands]
    tasks = []
    for command, gate in zip(commands, gates, strict=True):  # the later id is held, and so renewed, first
        tasks.append(asyncio.create_task(steps.work(command, during=gate)))
        await gate.until_reached()
    later, earlier = (command.data.row_id for command in commands)
    async with engine.begin() as conn:
        await conn.execute(LOCK, {"id": earlier})
        changing = asyncio.create_task(
            worker.renew() if change == "renew" else worker.release_predecessor(worker.claims.incarnation)
        )
        await until_blocked(engine)
        async with engine.begin() as other:
            await other.execute(LOCK, {"id": later})  # raises where the change has it already
    await changing
    for gate in gates:
        gate.open()
    await asyncio.gather(*tasks)
