"""A kind that runs again (a collection's summary): whatever is asked for during an attempt is done after it."""

from __future__ import annotations

import asyncio
import itertools
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio

from aperag_common import errors
from aperag_common.bus.delivery import Ack, Nak
from aperag_common.jobs.declared import COLLECTION_SUMMARY, TURN
from aperag_testing.jobs import order, want
from aperag_testing.steps import DUE, Gate, until_blocked
from aperag_work import summaries
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive
from aperag_work.rows import Dispatch

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_common.bus.delivery import Settlement
    from aperag_common.metrics import Metrics
    from aperag_testing.steps import MakeWorker, Steps
    from aperag_work.change import Change
    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.job import Job

SUPERSEDED = Ack(outcome="superseded")
LAST = WorkPolicy(max_failures=1)


@pytest.fixture
def sent(dispatcher: Dispatcher, monkeypatch: pytest.MonkeyPatch) -> list[Dispatch]:
    """Commands that left this process after a commit."""
    kept: list[Dispatch] = []

    def keep(*changes: Change) -> None:
        kept.extend(command for change in changes for command in change.commands)

    monkeypatch.setattr(dispatcher, "deliver", keep)
    return kept


@pytest_asyncio.fixture
async def first(engine: AsyncEngine) -> Dispatch:
    """The first command of a summary."""
    async with engine.begin() as conn:
        return await order(conn, COLLECTION_SUMMARY)


async def ask_in(conn: AsyncConnection, of: Dispatch) -> tuple[Dispatch, ...]:
    return await summaries.renew(conn, of.row.subject_id, first_due=DUE, source="tests")


async def ask(steps: Steps, of: Dispatch) -> tuple[Dispatch, ...]:
    """What the asker has to send."""
    async with steps.engine.begin() as conn:
        return await ask_in(conn, of)


def numbers(commands: list[Dispatch] | tuple[Dispatch, ...]) -> list[tuple[int, int]]:
    return [(command.row.generation, command.row.dispatch) for command in commands]


async def begins_anew(steps: Steps, sent: list[Dispatch], generation: int) -> None:
    """Nobody works on it, its budget is untouched, and its command has been sent."""
    [row] = await steps.rows("SELECT *, extract(epoch FROM due_at - clock_timestamp())::float AS due_in FROM job")
    assert (row.status, row.generation, row.dispatch, row.lease_token) == ("PENDING", generation, 1, None)
    assert (row.attempt, row.failures, row.failed_attempts) == (0, 0, [])
    assert (row.started_at, row.settled_at, row.error_code, row.error_message) == (None, None, None, None)
    assert 50 < row.due_in <= DUE.total_seconds()
    assert numbers(sent) == [(generation, 1)]


async def test_what_is_asked_for_during_an_attempt_lets_it_complete_and_is_done_after_it(
    steps: Steps, first: Dispatch, sent: list[Dispatch]
) -> None:
    async def during(job: Job) -> None:
        assert [await ask(steps, first) for _ in range(3)] == [(), (), ()]
        await steps.worker.renew()
        assert not job.lost
        async with job.transaction() as conn:
            await conn.execute("UPDATE collection_summary SET documents = 1")

    async def write(conn: Connection) -> None:
        await conn.execute("UPDATE collection_summary SET summary = 'first'")

    assert await steps.work(first.message, during=during, ending=write) == Ack()
    assert await steps.column("SELECT summary FROM collection_summary") == ["first"]
    await begins_anew(steps, sent, generation=4)
    assert await steps.work(first.message) == SUPERSEDED
    assert await steps.work(sent[0].message) == Ack()
    [row] = await steps.rows("SELECT * FROM job")
    assert (row.status, row.observed_generation, row.attempt) == ("ACTIVE", 4, 1)
    assert len(sent) == 1


@pytest.mark.parametrize(
    ("policy", "error", "outcome"),
    [
        (WorkPolicy(), errors.Busy("no room"), "retry"),
        (LAST, errors.Busy("no room"), "failed"),
        (WorkPolicy(), errors.Gone("gone"), "failed"),
    ],
    ids=["passing", "budget spent", "terminal"],
)
async def test_an_attempt_that_fails_after_something_was_asked_for_lets_the_job_begin_anew(
    steps: Steps,
    make_worker: MakeWorker,
    first: Dispatch,
    sent: list[Dispatch],
    metrics: Metrics,
    policy: WorkPolicy,
    error: Exception,
    outcome: str,
) -> None:
    async def during(_: Job) -> None:
        assert await ask(steps, first) == ()
        raise error

    settlement = await steps.work(first.message, by=make_worker(policy=policy), during=during)
    assert settlement.outcome == outcome
    await begins_anew(steps, sent, generation=2)
    assert await steps.column("SELECT id FROM dead_letter") == []
    assert metrics.registry.get_sample_value("aperag_dead_letters_total", {"code": "BUSY"}) is None
    assert metrics.registry.get_sample_value("aperag_dead_letters_total", {"code": "GONE"}) is None
    assert await steps.work(first.message) == SUPERSEDED
    assert await steps.work(sent[0].message) == Ack()


async def test_what_nobody_works_on_is_superseded_by_what_is_asked_for(steps: Steps, first: Dispatch) -> None:
    second, third = [(await ask(steps, first))[0] for _ in range(2)]
    assert numbers((second, third)) == [(2, 1), (3, 1)]
    assert [await steps.work(it.message) for it in (first, second, third)] == [SUPERSEDED, SUPERSEDED, Ack()]


async def test_a_lease_that_has_ended_keeps_nothing(
    steps: Steps, make_worker: MakeWorker, first: Dispatch, sent: list[Dispatch]
) -> None:
    async def during(_: Job) -> None:
        [second] = await ask(steps, first)
        assert numbers([second]) == [(2, 1)]
        assert await steps.work(second.message) == Ack()

    zombie = make_worker("zombie", WorkPolicy(lease=timedelta(0)))
    assert await steps.work(first.message, by=zombie, during=during) == SUPERSEDED
    assert sent == []


async def test_a_worker_that_dies_after_something_was_asked_for_is_followed_by_the_redrive(
    steps: Steps, first: Dispatch, job_database: Database, dispatcher: Dispatcher
) -> None:
    gate = Gate()
    late = asyncio.create_task(steps.work(first.message, during=gate))
    await gate.until_reached()
    assert await ask(steps, first) == ()
    await steps.change("UPDATE job SET lease_until = clock_timestamp(), due_at = clock_timestamp()")
    [lost] = await Redrive(job_database, dispatcher, WorkPolicy()).take(limit=10)
    assert (lost.generation, lost.dispatch) == (2, 2)
    second = await steps.dispatch_of(lost.id)
    assert await steps.work(second.message) == Ack()
    gate.open()
    assert await late == SUPERSEDED
    assert await steps.column("SELECT observed_generation FROM job") == [2]


async def test_a_worker_that_is_stopped_after_something_was_asked_for_gives_the_newer_generation_back(
    steps: Steps, first: Dispatch
) -> None:
    gate = Gate()
    task = asyncio.create_task(steps.work(first.message, during=gate))
    await gate.until_reached()
    assert await ask(steps, first) == ()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    row: Any = await steps.job(first.row.id)
    assert (row.status, row.generation, row.attempt, row.lease_token) == ("PENDING", 2, 0, None)
    assert row.due_in <= 5
    assert await steps.work((await steps.dispatch_of(first.row.id)).message) == Ack()


async def test_an_attempt_whose_collection_wants_no_summary_any_more_writes_nothing(
    steps: Steps, first: Dispatch
) -> None:
    async def during(_: Job) -> None:
        await steps.change("UPDATE collection SET config = '{}'")
        async with steps.engine.begin() as conn:
            assert await summaries.follow(conn, first.row.subject_id, first_due=DUE, source="tests") == ()

    assert await steps.work(first.message, during=during) == SUPERSEDED
    assert await steps.column("SELECT id FROM job") == []


async def test_a_kind_that_is_superseded_loses_its_lease_to_what_is_asked_for(steps: Steps) -> None:
    async with steps.engine.begin() as conn:
        turn = await order(conn, TURN)

    async def during(_: Job) -> None:
        async with steps.engine.begin() as conn:
            again = await want(conn, TURN, turn.row.subject_id, turn.row.owner)
        assert numbers([again]) == [(2, 1)]

    assert await steps.work(turn.message, during=during) == SUPERSEDED
    row: Any = await steps.job(turn.row.id)
    assert (row.status, row.generation, row.observed_generation, row.lease_token) == ("PENDING", 2, 0, None)


async def broken(_: object) -> None:
    message = "gone"
    raise errors.Gone(message)


@pytest.mark.parametrize("ends", ["completes", "fails"])
async def test_an_attempt_that_ends_while_something_is_being_asked_for_begins_anew_after_it(
    steps: Steps, first: Dispatch, sent: list[Dispatch], ends: str
) -> None:
    gate = Gate()

    async def during(job: Job) -> None:
        await gate()
        if ends == "fails":
            await broken(job)

    late = asyncio.create_task(steps.work(first.message, during=during))
    await gate.until_reached()
    async with steps.engine.begin() as conn:
        assert await ask_in(conn, first) == ()
        gate.open()
        await until_blocked(steps.engine)
    assert (await late).outcome == ("done" if ends == "completes" else "failed")
    await begins_anew(steps, sent, generation=2)


async def test_what_is_asked_for_while_an_attempt_completes_is_sent_by_the_asker(
    steps: Steps, first: Dispatch, sent: list[Dispatch]
) -> None:
    ending = Gate()
    completing = asyncio.create_task(steps.work(first.message, ending=ending))
    await ending.until_reached()
    asking = asyncio.create_task(ask(steps, first))
    await until_blocked(steps.engine)
    ending.open()
    assert await completing == Ack()
    [second] = await asking
    await begins_anew(steps, [second], generation=2)
    assert sent == []
    assert await steps.work(second.message) == Ack()


async def test_a_claim_that_comes_while_something_is_being_asked_for_takes_nothing_of_the_older_generation(
    steps: Steps, first: Dispatch
) -> None:
    async with steps.engine.begin() as conn:
        [second] = await ask_in(conn, first)
        async with asyncio.timeout(30):
            assert isinstance(await steps.work(first.message), Nak)
    assert [await steps.work(it.message) for it in (first, second)] == [SUPERSEDED, Ack()]


@dataclass(slots=True)
class Attempt:
    """``asked`` is how often the summary had been asked for when it began."""

    asked: int
    gate: Gate
    task: asyncio.Task[Settlement]
    error: list[Exception]


@dataclass(slots=True)
class Course:
    """One job through a sequence of events; ``sent`` are its commands, the newest last."""

    steps: Steps
    redrive: Redrive
    first: Dispatch
    sent: list[Dispatch]
    asked: int = 1
    completed: int = 0
    given_up: int = 0
    working: list[Attempt] = field(default_factory=list)

    async def want(self) -> None:
        self.asked += 1
        self.sent.extend(await ask(self.steps, self.first))

    async def claim(self) -> None:
        gate, error = Gate(), list[Exception]()

        async def during(_: Job) -> None:
            await gate()
            for it in error:
                raise it

        task = asyncio.create_task(self.steps.work(self.sent[-1].message, during=during))
        reached = asyncio.create_task(gate.reached.wait())
        await asyncio.wait({task, reached}, return_when=asyncio.FIRST_COMPLETED)
        reached.cancel()
        if not task.done():
            self.working.append(Attempt(self.asked, gate, task, error))

    async def complete(self, *error: Exception) -> None:
        """The newest attempt; nothing without one."""
        if not self.working:
            return
        attempt = self.working.pop()
        attempt.error.extend(error)
        attempt.gate.open()
        outcome = (await attempt.task).outcome
        if outcome == "done":
            self.completed = max(self.completed, attempt.asked)
        elif outcome == "failed":
            self.given_up = max(self.given_up, attempt.asked)

    async def fail(self) -> None:
        await self.complete(errors.Busy("no room"))

    async def give_up(self) -> None:
        await self.complete(errors.Gone("gone"))

    async def expire(self) -> None:
        """The lease ends, though the work goes on, and the job is redriven."""
        past = (
            "UPDATE job SET lease_until = clock_timestamp(), due_at = clock_timestamp() WHERE lease_token IS NOT NULL"
        )
        await self.steps.change(past)
        self.sent.extend(Dispatch(row, "tests") for row in await self.redrive.take(limit=10))

    async def check(self) -> Any:
        """What is wanted and not leased is settled, or its command has been sent."""
        query = "SELECT *, coalesce(lease_until > clock_timestamp(), false) AS leased FROM job WHERE id = :id"
        [row] = await self.steps.rows(query, id=self.first.row.id)
        if row.status in {"ACTIVE", "FAILED"}:
            assert row.observed_generation == row.generation
            assert self.asked == (self.completed if row.status == "ACTIVE" else self.given_up)
        elif not row.leased:
            assert self.sent[-1].row.generation == row.generation
        return row


EVENTS = ("want", "claim", "complete", "fail", "give_up", "expire")


@pytest.mark.parametrize("begins", EVENTS)
async def test_in_every_order_of_events_the_last_thing_asked_for_is_done(
    engine: AsyncEngine,
    steps: Steps,
    sent: list[Dispatch],
    job_database: Database,
    dispatcher: Dispatcher,
    begins: str,
) -> None:
    redrive = Redrive(job_database, dispatcher, WorkPolicy())
    for order_ in itertools.product(EVENTS, repeat=2):
        events = ("claim", "want", begins, *order_)
        async with engine.begin() as conn:
            first = await order(conn, COLLECTION_SUMMARY)
        sent[:] = [first]
        course = Course(steps, redrive, first, sent)
        for event in events:
            await getattr(course, event)()
            await course.check()
        while course.working:
            await course.complete()
        if (await course.check()).status not in {"ACTIVE", "FAILED"}:
            await course.claim()
            await course.complete()
        assert (await course.check()).status in {"ACTIVE", "FAILED"}, events
