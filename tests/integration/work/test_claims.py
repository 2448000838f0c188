"""Who works on a job: claimed by one worker, renewed while it lives, free again when it ends."""

from __future__ import annotations

import asyncio
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from sqlalchemy import text

from aperag_common import subjects
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.jobs.declared import COLLECTION_PURGE, TURN
from aperag_common.jobs.kind import Wanted
from aperag_testing.factories import make_collection, make_upload
from aperag_testing.jobs import order
from aperag_testing.steps import Gate, until_blocked
from aperag_work import leases
from aperag_work.document_rows import lock_all
from aperag_work.documents import Documents
from aperag_work.independent import Independent
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.events.commands import JobCommand
    from aperag_common.metrics import Metrics
    from aperag_testing.steps import MakeWorker, Steps
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.job import Job
    from aperag_work.rows import Dispatch

SUPERSEDED = Ack(outcome="superseded")
POLICY = WorkPolicy()


async def parses(engine: AsyncEngine, count: int) -> list[JobCommand]:
    """The commands that parse as many new documents of one collection, in the order of the documents' ids."""
    async with engine.begin() as conn:
        collection_id = await make_collection(conn)
        made = [await make_upload(conn, collection_id=collection_id) for _ in range(count)]
    return [change.commands[0].message for change in sorted(made, key=lambda change: change.document_id)]


async def test_a_lease_makes_other_workers_wait_for_its_rest_and_counts_one_attempt(
    steps: Steps, make_worker: MakeWorker, ordered: Dispatch
) -> None:
    gate = Gate()
    working = asyncio.create_task(steps.work(ordered.message, during=gate))
    await gate.until_reached()
    answer = await steps.work(ordered.message, by=make_worker("worker-2"))
    assert isinstance(answer, Nak)
    assert answer.outcome == "leased"
    assert timedelta(seconds=25) < answer.delay <= timedelta(seconds=30)
    held: Any = await steps.job(ordered.row.id)
    assert (held.attempt, held.lease_owner) == (1, "worker-1")
    assert held.due_in > (held.lease_until - held.updated).total_seconds()
    gate.open()
    assert await working == Ack()


async def test_of_claims_at_once_one_works(steps: Steps, make_worker: MakeWorker, ordered: Dispatch) -> None:
    gate = Gate()
    tasks = [
        asyncio.create_task(steps.work(ordered.message, by=make_worker(f"worker-{n}"), during=gate)) for n in range(5)
    ]
    await gate.until_reached()
    while sum(task.done() for task in tasks) < 4:
        await asyncio.wait([task for task in tasks if not task.done()], return_when=asyncio.FIRST_COMPLETED)
    gate.open()
    outcomes = sorted([(await task).outcome for task in tasks])
    assert outcomes == ["done", "leased", "leased", "leased", "leased"]


async def test_a_renewal_keeps_the_lease_and_one_that_finds_it_gone_stops_the_work(
    steps: Steps, metrics: Metrics, ordered: Dispatch
) -> None:
    async def renewed(job: Job) -> None:
        await steps.change("UPDATE job SET due_at = clock_timestamp() WHERE id = :id", id=job.row.id)
        await steps.worker.renew()
        assert not job.lost
        assert (await steps.job(job.row.id)).due_in > 30  # type: ignore[union-attr]
        await steps.change("UPDATE job SET lease_token = 'other' WHERE id = :id", id=job.row.id)
        await steps.worker.renew()
        assert job.lost
        await asyncio.Event().wait()

    assert await steps.work(ordered.message, during=renewed) == SUPERSEDED
    assert metrics.registry.get_sample_value("aperag_leases_lost_total", {"kind": ordered.row.kind}) == 1


async def test_a_renewal_renews_every_job_of_its_process_and_stops_only_those_that_are_lost(
    engine: AsyncEngine, steps: Steps
) -> None:
    commands = await parses(engine, 3)
    gates = [Gate() for _ in commands]
    tasks = [
        asyncio.create_task(steps.work(command, during=gate)) for command, gate in zip(commands, gates, strict=True)
    ]
    for gate in gates:
        await gate.until_reached()
    await steps.change("UPDATE job SET lease_token = NULL WHERE id = :id", id=commands[1].data.row_id)
    await steps.change("UPDATE job SET due_at = clock_timestamp() WHERE lease_token IS NOT NULL")
    await steps.worker.renew()
    assert await tasks[1] == SUPERSEDED
    due = "SELECT count(*) FROM job WHERE lease_token IS NOT NULL AND due_at > clock_timestamp() + interval '30 s'"
    assert await steps.column(due) == [2]
    for gate in gates:
        gate.open()
    assert [await tasks[0], await tasks[2]] == [Ack(), Ack()]


async def test_a_live_cancel_stops_the_work_at_once(steps: Steps) -> None:
    change = await steps.upload()
    gate = Gate()
    working = asyncio.create_task(steps.work(change.commands[0].message, during=gate))
    await gate.until_reached()
    steps.worker.cancel_task("another")
    assert not working.done()
    steps.worker.cancel_task(change.workflow_id)
    async with asyncio.timeout(5):
        assert await working == SUPERSEDED


async def test_a_worker_that_is_stopped_gives_back_without_an_attempt(steps: Steps, ordered: Dispatch) -> None:
    gate = Gate()
    task = asyncio.create_task(steps.work(ordered.message, during=gate))
    await gate.until_reached()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after: Any = await steps.job(ordered.row.id)
    assert (after.attempt, after.lease_token, after.status) == (0, None, ordered.row.status)
    assert 0 < after.due_in <= 5
    assert await steps.work(ordered.message) == Ack()


async def test_a_worker_that_is_stopped_while_it_claims_leaves_no_lease(
    engine: AsyncEngine, steps: Steps, ordered: Dispatch
) -> None:
    async with engine.begin() as holding:
        await holding.execute(text("LOCK TABLE job IN EXCLUSIVE MODE"))
        task = asyncio.create_task(steps.work(ordered.message))
        await until_blocked(engine)
        task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    after: Any = await steps.job(ordered.row.id)
    assert (after.attempt, after.lease_token, after.status) == (0, None, ordered.row.status)


async def test_what_a_dead_process_held_is_claimed_at_once_by_the_one_in_its_place(
    steps: Steps, bus: Bus, job_database: Database, dispatcher: Dispatcher, make_worker: MakeWorker, ordered: Dispatch
) -> None:
    """It is dead for its supervisor only: what it still does changes nothing."""
    woken = await bus.nc.subscribe(subjects.wake("reconciler"))
    gate = Gate()
    late = asyncio.create_task(steps.work(ordered.message, during=gate))
    await gate.until_reached()
    successor = make_worker("worker-1")
    await successor.start(predecessor=steps.worker.claims.incarnation)
    try:
        await woken.next_msg(timeout=10)
        assert await Redrive(job_database, dispatcher, POLICY).run() == 1
        assert await steps.work(ordered.message, by=successor, during=_second_attempt) == Ack()
        gate.open()
        assert await late == SUPERSEDED
    finally:
        await successor.stop()


async def _second_attempt(job: Job) -> None:
    assert job.attempt == 2
    async with job.engine.database.durable.acquire() as conn:
        [row] = await conn.fetch("SELECT failed_attempts FROM job WHERE id = $1", job.row.id)
    assert [(it["attempt"], it["worker"], it["code"]) for it in row["failed_attempts"]] == [
        (1, "worker-1", "WORKER_LOST")
    ]


async def test_the_release_of_a_dead_process_takes_nothing_from_the_living(
    engine: AsyncEngine, steps: Steps, make_worker: MakeWorker
) -> None:
    async with engine.begin() as conn:
        commands = [(await order(conn, COLLECTION_PURGE, Wanted.ABSENT)).message for _ in range(2)]
    gates = [Gate(), Gate()]
    other = make_worker("worker-2")
    dead = asyncio.create_task(steps.work(commands[0], during=gates[0]))
    living = asyncio.create_task(steps.work(commands[1], by=other, during=gates[1]))
    for gate in gates:
        await gate.until_reached()
    assert await make_worker("worker-3").release_predecessor(steps.worker.claims.incarnation) == 1
    assert await steps.column("SELECT lease_owner FROM job WHERE lease_owner IS NOT NULL") == ["worker-2"]
    for gate in gates:
        gate.open()
    assert await living == Ack()
    assert await dead == Ack()  # it lives after all, and nobody has taken its job since


async def test_what_a_process_made_ready_just_before_its_death_is_published_again(
    steps: Steps, job_database: Database, dispatcher: Dispatcher
) -> None:
    """Between a commit and its publish there is a moment to die in."""
    redrive = Redrive(job_database, dispatcher, POLICY)
    upload = await steps.upload()
    assert await redrive.run() == 0
    for kinds in (["parse"], ["vector", "fulltext"]):
        async with job_database.durable.acquire() as conn:
            assert await leases.repeat_last(conn) == len(kinds)
        assert await redrive.run() == len(kinds)
        await steps.complete(upload.document_id, *kinds)
    later = await steps.upload()
    await steps.change(
        "UPDATE job SET updated = updated - interval '1 min' WHERE subject_id = :id", id=later.document_id
    )
    async with job_database.durable.acquire() as conn:
        assert await leases.repeat_last(conn) == 0, "that was published long ago"


async def test_an_attempt_that_nobody_reported_is_noted_by_the_next_claim(steps: Steps, ordered: Dispatch) -> None:
    await steps.change(
        "UPDATE job SET lease_token = 'gone', lease_owner = 'worker-1', lease_until = clock_timestamp(), attempt = 1"
        " WHERE id = :id",
        id=ordered.row.id,
    )
    assert await steps.work(ordered.message, during=_second_attempt) == Ack()


async def test_a_lease_that_was_taken_before_the_clock_was_set_back_costs_one_lease_at_most(
    steps: Steps, ordered: Dispatch
) -> None:
    await steps.change(
        "UPDATE job SET lease_token = 'other', lease_until = clock_timestamp() + interval '1 h' WHERE id = :id",
        id=ordered.row.id,
    )
    assert await steps.work(ordered.message) == Nak(POLICY.lease, outcome="leased")


async def test_a_lease_that_ends_while_its_reason_is_looked_up_is_asked_for_again(
    steps: Steps, ordered: Dispatch, monkeypatch: pytest.MonkeyPatch
) -> None:
    await steps.change("UPDATE job SET lease_token = 'other', lease_until = clock_timestamp() + interval '1 h'")
    find = leases.find

    async def after_its_end(*arguments: Any) -> Any:
        await steps.change("UPDATE job SET lease_token = NULL, lease_until = NULL")
        return await find(*arguments)

    monkeypatch.setattr(leases, "find", after_its_end)
    answer = await steps.work(ordered.message)
    assert isinstance(answer, Nak)
    assert answer.delay <= timedelta(seconds=1)


async def test_a_job_asked_for_twice_at_once_goes_to_one_token_which_keeps_it(
    engine: AsyncEngine, job_database: Database
) -> None:
    """Whose answer was lost asks again with the same token."""
    async with engine.begin() as conn:
        row = (await order(conn, TURN)).row
    asked = [leases.ClaimRequest(row.id, 1, token * 32) for token in "ab"]
    async with job_database.relaxed.acquire() as raw:
        claimed = await leases.claim(raw, asked, Independent(TURN), POLICY, owner="worker-1")
        taken = [lease for lease in claimed if lease is not None]
        repeated = [leases.ClaimRequest(row.id, 1, taken[0].token)]
        [again] = await leases.claim(raw, repeated, Independent(TURN), POLICY, owner="worker-1")
    assert [lease.attempt for lease in taken] == [1]
    assert again is not None
    assert (again.attempt, again.token) == (1, taken[0].token)


async def test_claims_at_once_take_what_they_may_and_make_its_documents_running(
    engine: AsyncEngine, steps: Steps, job_database: Database
) -> None:
    commands: list[Any] = await parses(engine, 3)
    gone = commands[1].data.document_id
    await steps.change("UPDATE document SET deleted_at = now() WHERE id = :id", id=gone)
    asked = [leases.ClaimRequest(c.data.row_id, 1, f"{i}" * 32) for i, c in enumerate(commands)]
    async with job_database.relaxed.acquire() as raw:
        taken = await leases.claim(raw, asked, Documents(), POLICY, owner="worker-1")
    assert [lease and lease.token[0] for lease in taken] == ["0", None, "2"]
    assert [lease.context.name for lease in taken if lease] == [f"{commands[i].data.document_id}.txt" for i in (0, 2)]
    statuses = [await steps.document_status(c.data.document_id) for c in commands]
    assert statuses == ["RUNNING", "PENDING", "RUNNING"]


async def test_a_claim_waits_for_no_lock_and_so_closes_no_circle_with_a_change_of_several_documents(
    engine: AsyncEngine, steps: Steps
) -> None:
    commands: list[Any] = await parses(engine, 2)
    first, second = (command.data.document_id for command in commands)
    await steps.change("UPDATE document SET status = 'RUNNING' WHERE id = :d", d=first)
    async with engine.begin() as conn:
        await lock_all(conn, [first, second])
        await conn.execute(text("SELECT 1 FROM job WHERE subject_id = :d FOR UPDATE"), {"d": first})
        # A claim that held the second one's job and waited for the first one's would close a circle here.
        claiming = [asyncio.create_task(steps.work(command)) for command in commands]
        assert isinstance(await claiming[0], Nak)
        await steps.rebuild_in(conn, second)
    await asyncio.gather(*claiming)
    query = "SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()"
    assert await steps.column(query) == [0]


async def test_a_claim_that_a_rebuild_overtakes_does_not_make_the_document_running(steps: Steps) -> None:
    upload = await steps.upload()
    [command] = upload.commands
    async with steps.engine.begin() as conn:
        await steps.rebuild_in(conn, upload.document_id)
        assert isinstance(await steps.work(command.message), Nak)
    assert await steps.work(command.message) == SUPERSEDED
    assert await steps.document_status(upload.document_id) == "PENDING"


async def test_a_job_that_is_put_off_counts_no_attempt_and_comes_back(steps: Steps, ordered: Dispatch) -> None:
    async def not_yet(job: Job) -> None:
        raise await job.put_off(timedelta(seconds=3))

    assert await steps.work(ordered.message, during=not_yet) == Nak(timedelta(seconds=3), outcome="waiting")
    after: Any = await steps.job(ordered.row.id)
    assert (after.attempt, after.failures, after.lease_token, after.status) == (0, 0, None, ordered.row.status)
    assert 3 < after.due_in <= 8
    assert await steps.work(ordered.message) == Ack()


async def test_a_transaction_of_a_job_is_committed_only_while_its_lease_is_held(
    steps: Steps, ordered: Dispatch
) -> None:
    async def during(job: Job) -> None:
        async with job.transaction() as conn:
            await conn.execute("UPDATE users SET email = 'first'")
        await steps.change("UPDATE job SET lease_token = 'other' WHERE id = :id", id=job.row.id)
        async with job.transaction() as conn:
            await conn.execute("UPDATE users SET email = 'second'")

    assert await steps.work(ordered.message, during=during) == SUPERSEDED
    assert await steps.column("SELECT DISTINCT email FROM users") == ["first"]
