"""Workers whose jobs move when a test says so, and a job of each mechanism."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_common.jobs.declared import COLLECTION_PURGE, COLLECTION_SUMMARY, INDEXES, PARSE, TURN
from aperag_common.jobs.kind import Wanted
from aperag_common.jobs.steps import StepKind
from aperag_testing.jobs import order
from aperag_testing.steps import Steps, play
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.metrics import Metrics
    from aperag_testing.steps import MakeWorker
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.rows import Dispatch

# Of an aggregate, made and removed; removed at once when it is completed; run again; none of these.
MECHANISMS = (
    (PARSE, Wanted.PRESENT),
    (INDEXES[StepKind.VECTOR], Wanted.ABSENT),
    (COLLECTION_PURGE, Wanted.ABSENT),
    (COLLECTION_SUMMARY, Wanted.PRESENT),
    (TURN, Wanted.PRESENT),
)


@pytest.fixture
def make_worker(job_database: Database, dispatcher: Dispatcher, metrics: Metrics) -> MakeWorker:
    def make(name: str = "worker-1", policy: WorkPolicy | None = None) -> Engine:
        return play(Engine(job_database, dispatcher, policy or WorkPolicy(), metrics, name, source="tests"))

    return make


@pytest.fixture
def steps(engine: AsyncEngine, make_worker: MakeWorker) -> Steps:
    return Steps(engine, make_worker())


@pytest_asyncio.fixture(params=MECHANISMS, ids=lambda it: f"{it[0].name}-{it[1].value}")
async def ordered(request: pytest.FixtureRequest, engine: AsyncEngine) -> Dispatch:
    """A job whose first command has been published; every promise holds for every mechanism."""
    kind, wanted = request.param
    async with engine.begin() as conn:
        return await order(conn, kind, wanted)
