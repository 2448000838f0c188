"""The services as real processes, with a fault proxy between them and each of the servers that they need."""

from __future__ import annotations

import asyncio
import contextlib
import os
import subprocess
import sys
import uuid
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from signal import Signals
from typing import TYPE_CHECKING, Any

import httpx
import psutil
import pytest
import pytest_asyncio
from sqlalchemy.engine import make_url

from aperag_common.db import migrate
from aperag_standalone import process
from aperag_standalone.nats import NatsServer
from aperag_standalone.postgres import PostgresServer
from aperag_testing.audit import broken_promises
from aperag_testing.client import Client
from aperag_testing.proxy import FaultProxy, fault_proxy
from aperag_testing.stack import WIDE_QUOTAS
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Iterator, Mapping
    from pathlib import Path

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.databases import Databases

TEMPLATE = "migrated"
READY_WITHIN = 90.0
PATIENCE = 120.0
HASTE = {
    "APERAG_WORK__LEASE": "PT5S",
    "APERAG_WORK__BEAT": "PT1S",
    "APERAG_WORK__FIRST_DUE": "PT6S",
    "APERAG_WORK__MAX_DUE": "PT20S",
    "APERAG_TIMERS__RECONCILE_INDEXES": "PT2S",
    "APERAG_TIMERS__OUTBOX": "PT2S",
    "APERAG_TIMERS__TOPOLOGY": "PT5S",
    "APERAG_POOL__WORKERS": "1",
    "APERAG_SECRET_KEY": "recovery-tests-only",
    "OTEL_ENABLED": "false",
    "OPENBLAS_NUM_THREADS": "1",
}


@dataclass(slots=True)
class ServiceProcess:
    """One replica of a service; it ends with the test process at the latest."""

    name: str
    module: str
    directory: Path
    env: Mapping[str, str]
    _child: subprocess.Popen[bytes] | None = None
    _command: process.Command | None = None

    @property
    def url(self) -> str:
        port = self._port_file.read_text(encoding="ascii").strip()
        return f"http://127.0.0.1:{port}"

    @property
    def pid(self) -> int:
        assert self._child is not None
        return self._child.pid

    @property
    def _port_file(self) -> Path:
        return self.directory / f"{self.name}.port"

    def start(self) -> None:
        self._port_file.unlink(missing_ok=True)
        own = {
            "APERAG_INSTANCE": self.name,
            "APERAG_HTTP__PORT": "0",
            "APERAG_HTTP__PORT_FILE": str(self._port_file),
        }
        self._command = process.Command((sys.executable, "-m", self.module), env={**self.env, **own}, grace=30)
        with (self.directory / f"{self.name}.log").open("ab") as log:
            self._child = process.spawn(self._command, log=log)

    async def ready(self) -> bool:
        try:
            async with httpx.AsyncClient(trust_env=False, timeout=10) as http:
                return (await http.get(f"{self.url}/readyz")).is_success
        except (httpx.TransportError, OSError):
            return False

    async def metric(self, name: str) -> float:
        """The sum over all labels."""
        async with httpx.AsyncClient(trust_env=False, timeout=30) as http:
            lines = (await http.get(f"{self.url}/metrics")).text.splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(name))

    def pause(self) -> None:
        """Of the process alone: what it has in its pool works on."""
        psutil.Process(self.pid).send_signal(Signals.SIGSTOP)

    def resume(self) -> None:
        psutil.Process(self.pid).send_signal(Signals.SIGCONT)

    def stop(self) -> None:
        """Also where it is paused, or dead already."""
        if self._child is not None and self._command is not None:
            with contextlib.suppress(psutil.NoSuchProcess):
                self.resume()
            process.end(self._child, self._command)


@dataclass(slots=True)
class System:
    """``nats`` and ``postgres`` are the ways of all services to the two servers; ``rows`` and tests go around them."""

    nats_server: NatsServer
    nats: FaultProxy
    postgres: FaultProxy
    rows: AsyncEngine
    directory: Path
    env: dict[str, str]
    services: dict[str, ServiceProcess] = field(default_factory=dict)

    async def start(self, *services: str) -> None:
        """``indexer-2`` is a second indexer."""
        for name in services:
            module = f"aperag_{name.partition('-')[0]}"
            self.services[name] = ServiceProcess(name, module, self.directory, self.env)
            self.services[name].start()
        await self.all_ready()

    async def all_ready(self) -> None:
        async def ready() -> bool:
            return all([await service.ready() for service in self.services.values()])

        await until(ready, within=READY_WITHIN)

    async def not_ready(self, name: str) -> None:
        async def says_so() -> bool:
            return not await self.services[name].ready()

        await until(says_so, within=PATIENCE)

    async def stop(self) -> None:
        """Beside the event loop: the services' last words go through the proxies."""
        for service in self.services.values():
            await asyncio.to_thread(service.stop)

    async def api_key(self) -> str:
        key_file = self.directory / "api_key"
        command = [sys.executable, "-m", "aperag_api.bootstrap", "--key-file", str(key_file)]
        await asyncio.to_thread(subprocess.run, command, env=self.env, check=True, capture_output=True)
        return key_file.read_text(encoding="ascii").strip()


@pytest.fixture(scope="module")
def second_postgres(tmp_path_factory: pytest.TempPathFactory) -> Iterator[PostgresServer]:
    """As the stack runs it: every commit is on disk before its answer."""
    server = PostgresServer(tmp_path_factory.mktemp("postgres"), trust=True)
    server.start()
    asyncio.run(migrate.upgrade(server.create_database(TEMPLATE)))
    yield server
    server.stop()


@pytest.fixture
def own_postgres(second_postgres: PostgresServer) -> PostgresServer:
    """A test that names it may stop PostgreSQL: nobody else uses this one."""
    second_postgres.start()
    return second_postgres


@pytest.fixture
def database(request: pytest.FixtureRequest) -> Iterator[str]:
    """Of the server that may be stopped, where the test asks for that."""
    if "own_postgres" in request.fixturenames:
        server: PostgresServer = request.getfixturevalue("own_postgres")
        name = f"t{uuid.uuid4().hex}"
        yield server.create_database(name, template=TEMPLATE)
        server.drop_database(name)
    else:
        postgres: PostgresServer = request.getfixturevalue("postgres")
        databases: Databases = request.getfixturevalue("databases")
        name = databases.take()
        yield postgres.url(name)
        databases.give_back(name)


@pytest_asyncio.fixture
async def system(nats_server: NatsServer, database: str, engine: AsyncEngine, tmp_path: Path) -> AsyncIterator[System]:
    """No service is started yet."""
    url = make_url(database)
    async with AsyncExitStack() as stack:
        nats = await stack.enter_async_context(fault_proxy("127.0.0.1", nats_server.port))
        postgres = await stack.enter_async_context(fault_proxy(str(url.host), int(url.port or 0)))
        through = url.set(host=postgres.listening[0], port=postgres.listening[1])
        env = {
            **{name: value for name, value in os.environ.items() if not name.startswith("APERAG_")},  # noqa: TID251  the caller's own settings
            **WIDE_QUOTAS,
            **HASTE,
            "APERAG_NATS__URL": "nats://{}:{}".format(*nats.listening),
            "APERAG_POSTGRES__URL": through.render_as_string(hide_password=False),
            "APERAG_OBJECTS__DIRECTORY": str(tmp_path / "objects"),
        }
        env.pop("PYTHONDONTWRITEBYTECODE", None)
        system = System(nats_server, nats, postgres, engine, tmp_path, env)
        stack.push_async_callback(system.stop)
        yield system


@pytest_asyncio.fixture
async def client(system: System) -> AsyncIterator[Client]:
    """Of a system with one of each service."""
    await system.start("reconciler", "indexer", "api")
    async with Client(system.services["api"].url, await system.api_key()) as client:
        yield client


@dataclass(slots=True)
class Shelf:
    """Documents on their way, as one client sees them."""

    client: Client
    system: System
    collection: str
    accepted: dict[str, dict[str, Any]] = field(default_factory=dict)

    async def add(self, number: int, *, words: int = 60) -> None:
        for _ in range(number):
            name = f"log-{len(self.accepted):03}.txt"
            body = f"q{len(self.accepted):05}x " + "tide moon " * (words // 2)
            self.accepted[name] = await self.client.upload_patiently(self.collection, name, body.encode())

    async def complete(self) -> None:
        """Wait for all of them."""
        path = f"/collections/{self.collection}/documents"

        async def all_complete() -> bool:
            pages = range(1, len(self.accepted) // 100 + 2)
            answers = [await self.client.json("GET", path, params={"page": page, "page_size": 100}) for page in pages]
            listed = [document["status"] for answer in answers for document in answer["items"]]
            return listed == ["COMPLETE"] * len(self.accepted)

        await until(all_complete, within=PATIENCE)

    async def kept(self) -> None:
        """Every promise holds once all work is done and all services say that they are well."""
        await self.complete()
        await self.system.all_ready()
        assert await broken_promises(self.system.rows, self.collection) == {}


@pytest_asyncio.fixture
async def shelf(client: Client, system: System) -> Shelf:
    return Shelf(client, system, await client.collection("recovery"))
