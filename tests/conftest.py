"""Fixtures every test may use: the real PostgreSQL and the real NATS server, fresh for each test."""

from __future__ import annotations

import asyncio
import signal
import uuid
from typing import TYPE_CHECKING

import hypothesis
import pytest
import pytest_asyncio

from aperag_common.bus import topology
from aperag_common.bus.connection import Bus, connect
from aperag_common.bus.declared import declared_for
from aperag_common.db import migrate
from aperag_common.db.session import make_engine
from aperag_common.metrics import Metrics
from aperag_common.services import Service
from aperag_common.settings import NatsSettings, PostgresSettings
from aperag_standalone.nats import NatsServer
from aperag_standalone.postgres import PostgresServer
from aperag_work.database import Database
from aperag_work.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

TEMPLATE = "migrated"

# The same values in every run, and no limit of time that a busy machine would break.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tests")

# Tests that share a stack of processes, in as many parts as `just test` has workers. Each worker begins with a part of
# all tests in their order, and who has none left takes from the ends of the others': what stands at the begin of a part
# stays together, and its stack is started once.
TOGETHER = (
    ("tests/chat", "tests/integration/standalone/cli"),
    ("tests/e2e", "tests/integration/standalone", "tests/integration/mcp"),
    ("tests/chaos", "tests/integration/recovery"),
)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    folders = {folder: part for part, folders in enumerate(TOGETHER) for folder in folders}
    heads: list[list[pytest.Item]] = [[] for _ in TOGETHER]
    others: list[pytest.Item] = []
    for item in items:
        within = [folder for folder in folders if item.nodeid.startswith(f"{folder}/")]
        (heads[folders[max(within, key=len)]] if within else others).append(item)
    share = -(-len(items) // len(heads))
    ordered: list[pytest.Item] = []
    for head in heads:
        rest = max(share - len(head), 0)
        ordered += [*head, *others[:rest]]
        others = others[rest:]
    items[:] = ordered + others


# A shell without job control starts what runs in its background with SIGINT ignored, and ignored signals stay ignored
# in every process started from here: none of them could be interrupted as a person would.
if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
    signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.fixture(scope="session")
def postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """One server per test process, with a migrated database to copy."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False, trust=True)
    server.start()
    asyncio.run(migrate.upgrade(server.create_database(TEMPLATE)))
    yield server
    server.stop()


@pytest.fixture
def database(postgres: PostgresServer) -> Iterator[str]:
    """The URL of a migrated database of this test's own."""
    name = f"t{uuid.uuid4().hex}"
    yield postgres.create_database(name, template=TEMPLATE)
    postgres.drop_database(name)


@pytest_asyncio.fixture
async def engine(database: str) -> AsyncIterator[AsyncEngine]:
    engine = make_engine(PostgresSettings(url=database), name="tests")
    yield engine
    await engine.dispose()


@pytest.fixture
def nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[NatsServer]:
    """A server of this test's own, without users; it may be killed and restarted."""
    server = NatsServer(tmp_path_factory.mktemp("nats"), durable=False)
    server.start()
    yield server
    server.kill()  # an orderly end takes it a tenth of a second


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("tests")


@pytest_asyncio.fixture
async def bus(nats_server: NatsServer) -> AsyncIterator[Bus]:
    """Connected, with all streams and consumers in place."""
    bus = await connect(NatsSettings(url=nats_server.url), service="tests", instance="tests")
    await topology.apply(bus.js)
    yield bus
    await bus.close()


@pytest_asyncio.fixture
async def job_database(database: str) -> AsyncIterator[Database]:
    """The job engine's own connections to this test's database."""
    opened = Database(PostgresSettings(url=database), name="tests-jobs")
    yield opened
    await opened.close()


@pytest_asyncio.fixture
async def dispatcher(bus: Bus, job_database: Database, metrics: Metrics) -> AsyncIterator[Dispatcher]:
    """It may send everything: the reconciler sends again what any other service sent."""
    dispatcher = Dispatcher(bus, job_database, metrics, declared_for(Service.RECONCILER))
    yield dispatcher
    await dispatcher.close()
