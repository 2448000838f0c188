"""Fixtures every test may use: the real PostgreSQL and the real NATS server, fresh for each test."""

from __future__ import annotations

import json
import signal
import socket
from functools import cache
from typing import TYPE_CHECKING

import hypothesis
import pytest
import pytest_asyncio

from aperag_common.bus import topology
from aperag_common.bus.connection import Bus, connect
from aperag_common.bus.declared import declared_for
from aperag_common.db.session import make_engine
from aperag_common.metrics import Metrics
from aperag_common.services import Service
from aperag_common.settings import NatsSettings, PostgresSettings
from aperag_standalone.nats import NatsServer
from aperag_standalone.postgres import PostgresServer
from aperag_testing.databases import Databases
from aperag_testing.nats import SharedNatsServer
from aperag_testing.stack import Stack, running
from aperag_work.database import Database
from aperag_work.dispatcher import Dispatcher

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Iterator

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.declared import Declared

# The same values in every run, and no limit of time that a busy machine would break.
hypothesis.settings.register_profile("tests", deadline=None, derandomize=True, database=None)
hypothesis.settings.load_profile("tests")

# Tests that share a stack of processes, in as many parts as `just test` has workers. Each worker begins with a part of
# all tests in their order, and who has none left takes from the ends of the others': what stands at the begin of a part
# stays together, and its stack is started once.
TOGETHER = (
    ("tests/chat", "tests/integration/standalone"),
    ("tests/e2e", "tests/integration/cli", "tests/integration/mcp"),
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
    """One server per test process."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), durable=False, trust=True)
    server.start()
    yield server
    server.stop()


@pytest.fixture(scope="session")
def databases(postgres: PostgresServer) -> Iterator[Databases]:
    databases = Databases(postgres)
    yield databases
    databases.close()


@pytest.fixture
def database(postgres: PostgresServer, databases: Databases) -> Iterator[str]:
    """The URL of a migrated database that only this test uses."""
    name = databases.take()
    yield postgres.url(name)
    databases.give_back(name)


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


@pytest.fixture(scope="session")
def shared_nats_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SharedNatsServer]:
    """One server per test process, for tests that leave it running."""
    server = SharedNatsServer(tmp_path_factory.mktemp("nats"))
    server.start()
    yield server
    server.kill()


@pytest.fixture
def nats_url(request: pytest.FixtureRequest) -> str:
    """Of the test's own server where it asks for one, else of an account of its own."""
    if "nats_server" in request.fixturenames:
        own: NatsServer = request.getfixturevalue("nats_server")
        return own.url
    shared: SharedNatsServer = request.getfixturevalue("shared_nats_server")
    return shared.take()


@pytest.fixture(scope="session")
def engine_port() -> Iterator[int]:
    """Where the web search engine of the tests will listen; held, so that nobody else is given it before."""
    with socket.socket() as held:
        held.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        held.bind(("127.0.0.1", 0))
        yield held.getsockname()[1]


@pytest.fixture(scope="session")
def shared_stack(tmp_path_factory: pytest.TempPathFactory, engine_port: int) -> Iterator[Stack]:
    """One stack of real processes for every test that adds to it and leaves it running."""
    settings = {
        # A key in the shell is the command line's: a service must not act with it.
        "APERAG_API_KEY": "sk-" + "0" * 32,
        "APERAG_WEB__DUCKDUCKGO_URL": f"http://127.0.0.1:{engine_port}/duckduckgo",
        "APERAG_OUTBOUND__ALLOW": json.dumps(["127.0.0.1"]),
    }
    with running(tmp_path_factory.mktemp("shared") / "home", settings=settings) as stack:
        yield stack


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("tests")


@pytest_asyncio.fixture
async def bus(request: pytest.FixtureRequest, nats_url: str) -> AsyncIterator[Bus]:
    """Connected, with all streams and consumers in place."""
    bus = await connect(NatsSettings(url=nats_url), service="tests", instance="tests")
    await topology.apply(bus.js)
    yield bus
    if "nats_server" not in request.fixturenames:
        for stream in await bus.js.streams_info():
            await bus.js.delete_stream(stream.config.name or "")
    await bus.close()


@pytest_asyncio.fixture
async def job_database(database: str) -> AsyncIterator[Database]:
    """The job engine's own connections to this test's database."""
    opened = Database(PostgresSettings(url=database), name="tests-jobs")
    yield opened
    await opened.close()


@pytest.fixture(scope="session")
def declared() -> Callable[[Service], Declared]:
    """What a service may send. FastStream takes a tenth of a second to declare it, and it is the same in every test."""
    return cache(declared_for)


@pytest_asyncio.fixture
async def dispatcher(
    bus: Bus, job_database: Database, metrics: Metrics, declared: Callable[[Service], Declared]
) -> AsyncIterator[Dispatcher]:
    """It may send everything: the reconciler sends again what any other service sent."""
    dispatcher = Dispatcher(bus, job_database, metrics, declared(Service.RECONCILER))
    yield dispatcher
    await dispatcher.close()
