"""The gateway on the real database and the real bus, and an indexer whose work the tests decide."""

from __future__ import annotations

import json
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import httpx
import pytest
import pytest_asyncio
import structlog
from pydantic import SecretStr
from sqlalchemy import text

from aperag_api.edge.app import make_app, open_gateway
from aperag_api.edge.settings import Settings
from aperag_api.identity.accounts.passwords import PasswordSettings
from aperag_api.identity.apikeys.keys import KeyHasher
from aperag_api.identity.apikeys.service import issue
from aperag_common import ids, subjects
from aperag_common.bus.delivery import Ack
from aperag_common.health import Health
from aperag_common.http.server import HttpServer
from aperag_common.jobs.steps import StepKind
from aperag_common.services import Service
from aperag_common.settings import HttpSettings, ObjectSettings
from aperag_common.telemetry import Telemetry
from aperag_models.settings import ModelSettings
from aperag_retrieval.analysis import DEFAULT_ANALYZER, analyzer_for, term_id
from aperag_retrieval.lexical import PgFulltextIndex
from aperag_retrieval.ports import IndexTarget, TermRow
from aperag_testing.fake_agent import FakeAgent
from aperag_testing.refusals import changes, snapshot
from aperag_testing.steps import Steps, play
from aperag_work.engine import Engine
from aperag_work.policy import WorkPolicy
from aperag_work.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
    from pathlib import Path

    from fastapi import FastAPI
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_common.bus.connection import Bus
    from aperag_common.bus.declared import Declared
    from aperag_common.metrics import Metrics
    from aperag_work.database import Connection, Database
    from aperag_work.dispatcher import Dispatcher
    from aperag_work.rows import JobRow

SECRET = "integration-tests-only"


@pytest.fixture(autouse=True)
def logged() -> Iterator[list[Any]]:
    """What was logged; the default rendering of a stack takes seconds."""
    with structlog.testing.capture_logs() as lines:
        yield lines


@pytest.fixture
def settings(tmp_path: Path, request: pytest.FixtureRequest) -> Settings:
    """``indirect`` parameters override what is set here."""
    values: dict[str, Any] = {
        "secret_key": SECRET,
        "objects": ObjectSettings(directory=tmp_path / "objects"),
        "max_document_size": 64 * 1024,
        "max_documents_per_request": 5,
        "otel_enabled": False,
        # Tests change rows behind the gateway's back, which no event tells of.
        "remembered_for": timedelta(0),
        "models": ModelSettings(local="fast"),
        "passwords": PasswordSettings(memory_kib=8, rounds=1, lanes=1),
    }
    return Settings(_env_file=None, **{**values, **getattr(request, "param", {})})


@pytest.fixture
def runtime(
    settings: Settings,
    engine: AsyncEngine,
    job_database: Database,
    bus: Bus,
    dispatcher: Dispatcher,
    metrics: Metrics,
    declared: Callable[[Service], Declared],
) -> Runtime:
    sent, telemetry = declared(Service.API), Telemetry.start(settings, service="api")
    return Runtime("api", "tests", engine, job_database, bus, sent, dispatcher, metrics, Health(), telemetry)


async def know_stream(engine: AsyncEngine, bus: Bus) -> int:
    """What the reconciler does when it sees the event stream, anew or for the first time."""
    info = await bus.js.stream_info(subjects.EVENTS)
    async with engine.begin() as conn:
        epoch = await conn.execute(
            text(
                """
                INSERT INTO stream_epoch (stream, epoch, stream_created) VALUES (:stream, 1, :created)
                ON CONFLICT (stream) DO UPDATE SET epoch = stream_epoch.epoch + 1, stream_created = :created
                RETURNING epoch
                """
            ),
            {"stream": subjects.EVENTS, "created": info.created},
        )
    return int(epoch.scalar_one())


@pytest.fixture
def see_stream(engine: AsyncEngine, bus: Bus) -> Callable[[], Awaitable[int]]:
    async def see() -> int:
        return await know_stream(engine, bus)

    return see


@pytest_asyncio.fixture
async def gateway(runtime: Runtime, settings: Settings) -> AsyncIterator[Gateway]:
    await know_stream(runtime.engine, runtime.bus)
    async with open_gateway(runtime, settings) as gateway:
        yield gateway


DOCUMENTS: dict[str, dict[str, Any]] = {}
"""OpenAPI documents by mode: one is the same in every test, and takes two seconds to make."""


@pytest.fixture
def app(gateway: Gateway, runtime: Runtime, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    made = make_app(gateway, runtime, settings)
    make = made.openapi

    def openapi() -> dict[str, Any]:
        if settings.deployment_mode not in DOCUMENTS:
            DOCUMENTS[settings.deployment_mode] = make()
        return DOCUMENTS[settings.deployment_mode]

    monkeypatch.setattr(made, "openapi", openapi)
    return made


@dataclass(slots=True)
class Person:
    """A user with a key, and a client that carries it."""

    id: str
    key: str
    http: httpx.AsyncClient

    async def collection(self, **config: Any) -> str:
        body = {"title": "Tea", "type": "document", "description": "", "config": config}
        answer = await self.http.post("/collections", json=body)
        assert answer.status_code == 200, answer.text
        return str(answer.json()["id"])

    async def upload(self, collection_id: str, *documents: tuple[str, bytes | str]) -> httpx.Response:
        files = [("files", document) for document in documents]
        return await self.http.post(f"/collections/{collection_id}/documents", files=files)

    async def uploaded(self, collection_id: str, name: str, content: bytes | str) -> dict[str, Any]:
        answer = await self.upload(collection_id, (name, content))
        assert answer.status_code == 200, answer.text
        document: dict[str, Any] = answer.json()["items"][0]
        return document


@pytest_asyncio.fixture
async def make_person(app: FastAPI, engine: AsyncEngine) -> AsyncIterator[Callable[..., Awaitable[Person]]]:
    async with AsyncExitStack() as stack:

        async def make(role: str = "rw") -> Person:
            user_id = ids.new_user_id()
            async with engine.begin() as conn:
                await conn.execute(
                    text("INSERT INTO users (id, username, role, is_active) VALUES (:id, :id, :role, true)"),
                    {"id": user_id, "role": role},
                )
                key = (await issue(conn, KeyHasher.of(SecretStr(SECRET)), user_id, "test")).key
            http = httpx.AsyncClient(
                transport=httpx.ASGITransport(app, raise_app_exceptions=False),
                base_url="http://gateway/api/v1",
                headers={"Authorization": f"Bearer {key}"},
                timeout=20,
            )
            return Person(user_id, key, await stack.enter_async_context(http))

        yield make


@pytest_asyncio.fixture
async def make_replica(runtime: Runtime, settings: Settings) -> AsyncIterator[Callable[..., Awaitable[FastAPI]]]:
    """Further gateways on the same database and bus; ``changes`` are of their settings."""
    async with AsyncExitStack() as stack:

        async def make(**changes: Any) -> FastAPI:
            replica, own = replace(runtime, health=Health()), settings.model_copy(update=changes)
            return make_app(await stack.enter_async_context(open_gateway(replica, own)), replica, own)

        yield make


@pytest_asyncio.fixture
async def make_visitor(app: FastAPI) -> AsyncIterator[Callable[..., Awaitable[httpx.AsyncClient]]]:
    """Browsers without a key; each keeps the cookies that it is given."""
    async with AsyncExitStack() as stack:

        async def make(address: str = "127.0.0.1", application: FastAPI = app) -> httpx.AsyncClient:
            transport = httpx.ASGITransport(application, raise_app_exceptions=False, client=(address, 4321))
            http = httpx.AsyncClient(transport=transport, base_url="http://gateway/api/v1", timeout=20)
            return await stack.enter_async_context(http)

        yield make


@pytest_asyncio.fixture
async def alice(make_person: Callable[..., Awaitable[Person]]) -> Person:
    return await make_person()


@pytest_asyncio.fixture
async def mallory(make_person: Callable[..., Awaitable[Person]]) -> Person:
    """Another owner: nothing of Alice's exists for them."""
    return await make_person()


_CHUNK = """
    INSERT INTO chunk (id, document_id, collection_id, generation, ordinal, text, text_hash, details)
    VALUES ($1, $2, $3, $4, 0, $5, md5($5), '{"titles": ["Tea"]}')
"""


@dataclass(slots=True)
class FakeIndexer:
    """Claims and completes jobs of documents as the indexer does, when a test says so."""

    engine: AsyncEngine
    worker: Engine

    @property
    def steps(self) -> Steps:
        return Steps(self.engine, self.worker)

    async def settle(self, document_id: str, content: str = "", *, kinds: tuple[str, ...] = ()) -> None:
        """All open steps of a document, or only ``kinds``: its parse as one chunk, each build after it."""
        for kind in kinds or (StepKind.PARSE, StepKind.VECTOR, StepKind.FULLTEXT):
            if (await self.steps.statuses(document_id)).get(kind) == "PENDING":
                await self._complete(document_id, kind, content)

    async def serve_markdown(self, document_id: str, path: str) -> None:
        """As a parse records where it put the Markdown."""
        async with self.engine.begin() as conn:
            await conn.execute(
                text(
                    """
                    UPDATE document_index SET data = jsonb_build_object('markdown', CAST(:path AS text))
                    WHERE document_id = :id AND kind = 'parse'
                    """
                ),
                {"id": document_id, "path": path},
            )

    async def warn(self, document_id: str, *warnings: dict[str, str]) -> None:
        """As a parse records what it could not read."""
        async with self.engine.begin() as conn:
            await conn.execute(
                text(
                    """
                    UPDATE document_index SET data = jsonb_build_object('warnings', CAST(:warnings AS jsonb))
                    WHERE document_id = :id AND kind = 'parse'
                    """
                ),
                {"id": document_id, "warnings": json.dumps(warnings)},
            )

    async def fail(self, document_id: str) -> None:
        """The parse ends FAILED, and takes the builds with it."""
        async with self.engine.begin() as conn:
            await conn.execute(
                text(
                    """
                    UPDATE job SET status = 'FAILED', observed_generation = generation, error_code = 'BROKEN',
                        error_message = 'it cannot be read'
                    WHERE subject_id = :id
                    """
                ),
                {"id": document_id},
            )

    async def write_chunk(self, conn: Connection, row: JobRow, content: str) -> None:
        id_ = f"{row.subject_id}-{row.generation}"
        await conn.execute(_CHUNK, id_, row.subject_id, row.collection_id, row.generation, content)

    async def _complete(self, document_id: str, kind: str, content: str) -> None:
        dispatch = await self.steps.dispatch(document_id, kind)

        async def ending(conn: Connection) -> None:
            if kind == StepKind.PARSE:
                await self.write_chunk(conn, dispatch.row, content)
            elif kind == StepKind.FULLTEXT:
                await self._write_terms(conn, dispatch.row, content)

        assert await self.steps.work(dispatch.message, ending=ending) == Ack(outcome="done")

    async def _write_terms(self, conn: Connection, row: JobRow, content: str) -> None:
        found = await conn.fetch("SELECT id FROM chunk WHERE document_id = $1", row.subject_id)
        terms = analyzer_for(DEFAULT_ANALYZER).terms(content)
        weights = {term_id(term): 1.0 for term in terms}
        target = IndexTarget(row.subject_id, row.collection_id or "", row.generation)
        rows = [TermRow(target, it["id"], length=len(terms), weights=weights) for it in found]
        await PgFulltextIndex().write(conn, rows)


@pytest.fixture
def make_worker(job_database: Database, dispatcher: Dispatcher, metrics: Metrics) -> Callable[[str], Engine]:
    """A worker of this name that does jobs of documents as a test says (``Steps.work``)."""

    def make(name: str) -> Engine:
        return play(Engine(job_database, dispatcher, WorkPolicy(), metrics, name, source="tests"))

    return make


@pytest.fixture
def indexer(engine: AsyncEngine, make_worker: Callable[[str], Engine]) -> FakeIndexer:
    return FakeIndexer(engine, make_worker("tests"))


@pytest.fixture
def agent(engine: AsyncEngine, job_database: Database, dispatcher: Dispatcher, metrics: Metrics, bus: Bus) -> FakeAgent:
    worker = Engine(job_database, dispatcher, WorkPolicy(), metrics, "tests", source="tests")
    return FakeAgent(engine, worker, bus)


@dataclass(slots=True)
class Victim:
    """Alice's collection with a searchable document, and all else that has an id: what attacks must not change."""

    collection: str
    document: str
    task: str
    search: str
    key: str
    bot: str
    chat: str
    turn: str
    file: str
    provider: str
    model: str
    subscription: str
    webhook: str
    delivery: str

    @property
    def documents(self) -> str:
        return f"/collections/{self.collection}/documents"


@pytest_asyncio.fixture
async def victim(alice: Person, indexer: FakeIndexer) -> Victim:
    collection = await alice.collection()
    document = await alice.uploaded(collection, "original.txt", "0123456789")
    await indexer.settle(document["id"], "0123456789")
    search = await alice.http.post(f"/collections/{collection}/searches", json={"query": "tea", "fulltext_search": {}})
    key = await alice.http.post("/apikeys", json={})
    bot = await alice.http.post("/bots", json={"title": "Tea"})
    chat = await alice.http.post(f"/bots/{bot.json()['id']}/chats", json={})
    turns = f"/bots/{bot.json()['id']}/chats/{chat.json()['id']}/turns"
    turn = await alice.http.post(turns, json={"query": "tea?"})
    file = await alice.http.post(f"/chats/{chat.json()['id']}/documents", files={"file": ("file.txt", b"of the chat")})
    provider = {"name": f"of-{alice.id}", "label": "Tea", "base_url": "https://models.example.org/v1"}
    await alice.http.post("/llm_providers", json=provider)
    await alice.http.post(f"/llm_providers/{provider['name']}/models", json={"api": "completion", "model": "m"})
    subscription = await alice.http.post("/subscriptions", json={"name": "everything"})
    webhook = (await alice.http.post("/webhooks", json={"url": "https://93.184.215.14/hook"})).json()["id"]
    delivery = await alice.http.post(f"/webhooks/{webhook}/test")
    return Victim(
        collection,
        document["id"],
        document["task_id"],
        search.json()["id"],
        key.json()["id"],
        bot.json()["id"],
        chat.json()["id"],
        turn.json()["id"],
        file.json()["id"],
        provider["name"],
        "m",
        subscription.json()["id"],
        webhook,
        delivery.json()["delivery_id"],
    )


@pytest_asyncio.fixture
async def untouched(victim: Victim, engine: AsyncEngine, settings: Settings, logged: list[Any]) -> AsyncIterator[None]:
    """After the test every row and every object is as before it, and no error was logged."""
    before = await snapshot(engine, settings.objects.directory)
    yield
    assert changes(before, await snapshot(engine, settings.objects.directory)) == []
    assert [line for line in logged if line["log_level"] in {"error", "critical"}] == []


@pytest_asyncio.fixture
async def served(app: FastAPI, alice: Person) -> AsyncIterator[httpx.AsyncClient]:
    """The gateway behind a real server: what streams, and a connection's end, can be seen only there."""
    server = HttpServer(HttpSettings(port=0), app, sockets=True)
    await server.start()
    base = f"http://127.0.0.1:{server.port}/api/v1"
    async with httpx.AsyncClient(base_url=base, headers=alice.http.headers, timeout=20, trust_env=False) as client:
        yield client
    await server.stop()
