"""A worker, the documents that it moves, and the redrive: what most tests of the reconciler start from."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest
import pytest_asyncio

from aperag_reconciler.topology.keeper import TopologyKeeper
from aperag_testing.steps import Steps, play
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_work.database import Database
    from aperag_work.dispatcher import Dispatcher


@pytest.fixture
def worker(job_database: Database, dispatcher: Dispatcher, metrics: Metrics) -> Engine:
    return Engine(job_database, dispatcher, WorkPolicy(), metrics, "worker-1", source="tests")


@pytest.fixture
def steps(engine: AsyncEngine, worker: Engine) -> Steps:
    return Steps(engine, play(worker))


@pytest.fixture
def redrive(job_database: Database, dispatcher: Dispatcher) -> Redrive:
    return Redrive(job_database, dispatcher, WorkPolicy())


@pytest_asyncio.fixture
async def keeper(bus: Bus, engine: AsyncEngine, dispatcher: Dispatcher, redrive: Redrive) -> TopologyKeeper:
    """It has seen the streams for the first time."""
    keeper = TopologyKeeper(bus, engine, dispatcher, redrive, period=30)
    assert await keeper.apply()
    return keeper
