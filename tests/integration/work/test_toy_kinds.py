"""A new kind of work is a declaration and a handler: everything else follows from it."""

from __future__ import annotations

from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, ClassVar

import pytest
import pytest_asyncio

from aperag_common import errors, subjects
from aperag_common.bus import topology
from aperag_common.bus.declared import declared_for
from aperag_common.bus.worker import Worker
from aperag_common.events.commands import JobCommand, JobData
from aperag_common.jobs.kind import REMOVED_AT_ONCE, JobKind, Wanted, Work, kinds, register, registered
from aperag_common.services import Service
from aperag_common.settings import WorkSettings
from aperag_common.subjects import Subject
from aperag_testing.factories import ADMISSION, make_user
from aperag_testing.jobs import want
from aperag_testing.waiting import until
from aperag_work import requeue
from aperag_work.completion import Completion
from aperag_work.dispatcher import Dispatcher
from aperag_work.engine import Engine
from aperag_work.failures import record_poison
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive
from aperag_work.requeue_rules import RequeueAnswer

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_testing.steps import Steps
    from aperag_work.completion import Completed
    from aperag_work.database import Connection, Database
    from aperag_work.job import Job
    from aperag_work.rows import Dispatch


class ToyData(JobData):
    toy_id: str


class WindToy(JobCommand):
    """Wind a toy up."""

    type_name: ClassVar[str] = "toy.wind"
    data: ToyData


class ScrapToy(JobCommand):
    """Take a toy apart."""

    type_name: ClassVar[str] = "toy.scrap"
    data: ToyData


WINDING = JobKind(
    "toy.winding",
    Service.INDEXER,
    "toy",
    present=Work(Subject("aperag.cmd.toy.wind"), WindToy, "indexer-toy-wind", retry="wind"),
)
SCRAPPING = JobKind(
    "toy.scrapping",
    Service.RECONCILER,
    "toy",
    absent=Work(Subject("aperag.cmd.toy.scrap"), ScrapToy, "reconciler-toy-scrap", retry="scrap", max_failures=2),
    retention=REMOVED_AT_ONCE,
)


@dataclass(slots=True)
class Toys:
    """The handlers, and what they were given."""

    seen: list[tuple[str, int]] = field(default_factory=list)
    broken: bool = False

    async def wind(self, job: Job) -> Completion:
        self.seen.append((job.row.subject_id, job.attempt))
        return Completion("wound")

    async def scrap(self, job: Job) -> Completion:
        self.seen.append((job.row.subject_id, job.attempt))
        if self.broken:
            message = "the screws are stuck"
            raise errors.Busy(message)
        return Completion("scrapped")

    async def write(self, conn: Connection, completed: Sequence[Completed]) -> None:
        for it in completed:
            await conn.execute("UPDATE users SET email = $2 WHERE id = $1", it.row.owner, it.result)


@pytest_asyncio.fixture
async def toys(bus: Bus, job_database: Database, metrics: Metrics) -> AsyncIterator[tuple[Toys, Dispatcher, Redrive]]:
    """Processes that work on toys, and the reconciler's part in it."""
    with registered(WINDING, SCRAPPING):
        await topology.apply(bus.js)
        policy = WorkPolicy.of(WorkSettings.model_validate({"steps": {"scrap": {"retry_base": "PT0.01S"}}}))
        handlers = Toys()
        async with running(bus, job_database, metrics, policy, handlers):
            dispatcher = Dispatcher(bus, job_database, metrics, declared_for(Service.RECONCILER))
            yield handlers, dispatcher, Redrive(job_database, dispatcher, policy)
            await dispatcher.close()


@asynccontextmanager
async def running(
    bus: Bus, database: Database, metrics: Metrics, policy: WorkPolicy, toys: Toys
) -> AsyncIterator[None]:
    workers, dispatchers = [], []
    for service, kind, wanted, run in (
        (Service.INDEXER, WINDING, Wanted.PRESENT, toys.wind),
        (Service.RECONCILER, SCRAPPING, Wanted.ABSENT, toys.scrap),
    ):
        declared = declared_for(service)
        dispatchers.append(Dispatcher(bus, database, metrics, declared))
        engine = Engine(database, dispatchers[-1], policy, metrics, service, source=service)
        engine.handle(kind, run, wanted=wanted, write=toys.write)
        worker = Worker(bus, declared, metrics, partial(record_poison, database, metrics))
        engine.subscribe(worker)
        await worker.start()
        workers.append(worker)
    try:
        yield
    finally:
        for worker in workers:
            await worker.stop()
        for dispatcher in dispatchers:
            await dispatcher.close()


async def wanted(engine: AsyncEngine, kind: JobKind, direction: Wanted) -> Dispatch:
    async with engine.begin() as conn:
        return await want(conn, kind, "toy1", await make_user(conn), wanted=direction)


async def test_a_toy_is_wound_and_its_job_stays(
    engine: AsyncEngine, bus: Bus, steps: Steps, toys: tuple[Toys, Dispatcher, Redrive]
) -> None:
    handlers, dispatcher, _ = toys
    ordered = await wanted(engine, WINDING, Wanted.PRESENT)
    assert await dispatcher.send([ordered]) == 1

    async def wound() -> bool:
        return await steps.column("SELECT status FROM job") == ["ACTIVE"]

    await until(wound)
    assert handlers.seen == [("toy1", 1)]
    assert await steps.column("SELECT email FROM users") == ["wound"]

    async def acked() -> bool:
        return (await bus.js.stream_info(subjects.COMMANDS)).state.messages == 0

    await until(acked)


async def test_a_toy_that_cannot_be_scrapped_is_retried_given_up_and_requeued(
    engine: AsyncEngine, steps: Steps, toys: tuple[Toys, Dispatcher, Redrive]
) -> None:
    handlers, dispatcher, _ = toys
    handlers.broken = True
    await dispatcher.send([await wanted(engine, SCRAPPING, Wanted.ABSENT)])

    async def given_up() -> bool:
        return await steps.column("SELECT status FROM job") == ["FAILED"]

    await until(given_up)
    [letter] = await steps.rows("SELECT * FROM dead_letter")
    assert (letter.kind, letter.code, letter.failures) == ("toy.scrapping", "BUSY", 2)
    assert (letter.consumer, letter.subject) == ("reconciler-toy-scrap", "aperag.cmd.toy.scrap")
    assert await steps.column("SELECT payload->>'type' FROM outbox") == ["step.dead_lettered"]
    handlers.broken = False
    async with engine.begin() as conn:
        requeued = await requeue.requeue(conn, [letter.id], ADMISSION)
    assert [answer.verdict for answer in requeued.answers.values()] == [RequeueAnswer.REDRIVEN]
    dispatcher.deliver(*requeued.changes)

    async def gone() -> bool:
        return await steps.column("SELECT status FROM job") == []

    await until(gone)
    assert handlers.seen == [("toy1", 1), ("toy1", 2), ("toy1", 1)]
    assert await steps.column("SELECT email FROM users") == ["scrapped"]


async def test_a_toy_whose_command_was_lost_is_redriven(
    engine: AsyncEngine, steps: Steps, toys: tuple[Toys, Dispatcher, Redrive]
) -> None:
    handlers, _, redrive = toys
    await wanted(engine, WINDING, Wanted.PRESENT)
    assert await redrive.run() == 0
    await steps.change("UPDATE job SET due_at = clock_timestamp()")
    assert await redrive.run() == 1

    async def wound() -> bool:
        return await steps.column("SELECT status FROM job") == ["ACTIVE"]

    await until(wound)
    assert handlers.seen == [("toy1", 1)]


@pytest.mark.parametrize("twin", [WINDING, SCRAPPING], ids=lambda kind: kind.name)
def test_kinds_of_a_test_are_gone_after_it_and_none_is_declared_twice(twin: JobKind) -> None:
    before = kinds()
    with registered(WINDING, SCRAPPING):
        assert set(kinds()) - set(before) == {WINDING, SCRAPPING}
        with pytest.raises(ValueError, match="declared twice"):
            register(replace(twin, label="another"))
    assert kinds() == before
