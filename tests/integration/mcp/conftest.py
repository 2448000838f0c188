"""The one-machine stack with its MCP service, people with keys of their own, and further replicas of the service."""

from __future__ import annotations

import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
from fastmcp import Client
from fastmcp.client.transports import StreamableHttpTransport
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from pydantic import SecretStr
from sqlalchemy import text

from aperag_api.identity.apikeys.keys import KeyHasher
from aperag_api.identity.apikeys.service import issue
from aperag_common import ids
from aperag_common.db.session import make_engine
from aperag_common.health import Health
from aperag_common.http.server import HttpServer
from aperag_common.metrics import Metrics
from aperag_common.settings import HttpSettings, PostgresSettings
from aperag_common.telemetry import Telemetry
from aperag_mcp.app import make_app, make_server
from aperag_mcp.gateway.client import connect
from aperag_mcp.settings import Settings
from aperag_testing.site import open_site
from aperag_testing.stack import Stack

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable
    from contextlib import AbstractAsyncContextManager

    from opentelemetry.sdk.trace import ReadableSpan

    from aperag_testing.site import Site

GREEN = "# Tea\n\nGreen tea is not oxidised; it is steeped at seventy degrees.\n"


@pytest_asyncio.fixture
async def site(engine_port: int) -> AsyncIterator[Site]:
    """The web of the tests: its search engine is at ``/duckduckgo``, its pages are what a test says."""
    async with open_site(port=engine_port) as site:
        yield site


@pytest.fixture(scope="session")
def stack(shared_stack: Stack) -> Stack:
    return shared_stack


@dataclass(slots=True)
class Person:
    """A user with a key, who talks to the gateway by REST and to the MCP service by fastmcp's client."""

    key: str
    rest: httpx.AsyncClient
    mcp_url: str

    def mcp(self, url: str | None = None) -> Client[Any]:
        """Not connected yet; ``url`` is another way to the same service."""
        headers = {"Authorization": f"Bearer {self.key}"}
        return Client(StreamableHttpTransport(url or self.mcp_url, headers=headers), timeout=60)

    async def collection(self, title: str = "Tea") -> str:
        answer = await self.rest.post("/collections", json={"title": title})
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])


@pytest_asyncio.fixture
async def make_person(stack: Stack) -> AsyncIterator[Callable[[], Awaitable[Person]]]:
    secret = (stack.home / "secrets" / "secret_key").read_text(encoding="ascii").strip()
    engine = make_engine(PostgresSettings(url=stack.postgres_url), name="tests")
    async with AsyncExitStack() as clients:

        async def make(role: str = "rw") -> Person:
            user_id = ids.new_user_id()
            async with engine.begin() as conn:
                await conn.execute(
                    text("INSERT INTO users (id, username, role, is_active) VALUES (:id, :id, :role, true)"),
                    {"id": user_id, "role": role},
                )
                key = (await issue(conn, KeyHasher.of(SecretStr(secret)), user_id, "test")).key
            headers = {"Authorization": f"Bearer {key}"}
            rest = httpx.AsyncClient(base_url=f"{stack.url}/api/v1", headers=headers, timeout=30, trust_env=False)
            return Person(key, await clients.enter_async_context(rest), str(stack.state()["mcp_url"]))

        yield make
    await engine.dispose()


@pytest_asyncio.fixture
async def alice(make_person: Callable[[], Awaitable[Person]]) -> Person:
    return await make_person()


@pytest_asyncio.fixture
async def mallory(make_person: Callable[[], Awaitable[Person]]) -> Person:
    """Another owner: nothing of Alice's exists for them."""
    return await make_person()


@dataclass(frozen=True, slots=True)
class Shelf:
    """A collection of Alice's with one searchable document."""

    collection: str
    document: str
    name: str
    text: str


@pytest_asyncio.fixture
async def shelf(alice: Person) -> Shelf:
    collection = await alice.collection(f"Tea {uuid.uuid4().hex}")
    async with alice.mcp() as client:
        arguments = {"collection_id": collection, "text": GREEN, "name": "tea.md", "wait": True}
        added = (await client.call_tool("add_document", arguments)).structured_content
    assert added is not None
    assert added["searchable"], added
    return Shelf(collection, added["document"]["id"], "tea.md", GREEN)


@dataclass(slots=True)
class Replica:
    """The MCP service within this process, with the spans that it made."""

    url: str
    exporter: InMemorySpanExporter
    metrics: Metrics

    def spans(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())


@pytest.fixture
def replica(stack: Stack) -> Callable[..., AbstractAsyncContextManager[Replica]]:
    """Another replica on a free port; ``settings`` override those of the stack's own."""

    @asynccontextmanager
    async def start(**settings: Any) -> AsyncIterator[Replica]:
        values = Settings(_env_file=None, **{"api_url": stack.url, "http": {"port": 0}, **settings})
        exporter, metrics, health = InMemorySpanExporter(), Metrics("mcp"), Health()
        provider = TracerProvider(shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(exporter))
        telemetry = Telemetry(provider, exporter)
        async with connect(values) as gateway:
            health.add("gateway", gateway.check)
            server = make_server(gateway, values, telemetry, metrics)
            http = HttpServer(HttpSettings(port=0), make_app(server, values, telemetry, health, metrics))
            await http.start()
            try:
                yield Replica(f"http://127.0.0.1:{http.port}", exporter, metrics)
            finally:
                await http.stop()
        provider.shutdown()

    return start
