"""The webhooks service on the real bus and database, receivers on loopback, and the gateway in front of it."""

from __future__ import annotations

import asyncio
import json
import uuid
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
import pytest_asyncio
from sqlalchemy import text
from standardwebhooks import Webhook
from tests.integration.api.conftest import (  # noqa: F401  fixtures
    Person,
    alice,
    app,
    gateway,
    logged,
    make_person,
    runtime,
    settings,
)

from aperag_common.bus.declared import declared_for
from aperag_common.events import facts
from aperag_common.events.fact import DocumentData
from aperag_common.health import Health
from aperag_common.outbound.client import OutboundClient
from aperag_common.services import Service
from aperag_testing.waiting import until
from aperag_webhooks.app import make_engine, make_worker
from aperag_webhooks.settings import Settings, WebhookOutbound
from aperag_work import outbox
from aperag_work.dispatcher import Dispatcher
from aperag_work.policy import WorkPolicy
from aperag_work.redrive import Redrive
from aperag_work.release import FairRelease
from aperag_work.runtime import Runtime

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_common.bus.connection import Bus
    from aperag_common.metrics import Metrics
    from aperag_work.database import Database
    from aperag_work.engine import Engine

PROVIDER_KEYS = "the-keys-of-providers-and-webhooks"
LOOPBACK = {"outbound": {"allow": ["127.0.0.1"]}, "provider_keys": PROVIDER_KEYS}
"""Settings of a gateway that lets webhooks reach receivers on this machine."""


@dataclass(slots=True)
class Received:
    headers: dict[str, str]
    body: str

    @property
    def id(self) -> str:
        return self.headers["webhook-id"]

    @property
    def event(self) -> dict[str, Any]:
        return dict(json.loads(self.body))

    def verified_by(self, secret: str) -> bool:
        try:
            Webhook(secret).verify(self.body, self.headers)
        except Exception:
            return False
        return True


@dataclass(slots=True)
class Receiver:
    """A server on loopback; ``answers`` are given one after the other, the last one for ever.

    An answer is a status, bytes that are sent as they are, or None: it never comes.
    """

    answers: list[int | bytes | None] = field(default_factory=lambda: [204])
    got: list[Received] = field(default_factory=list)
    port: int = 0
    answered: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    async def until_got(self, count: int, *, within: float = 20.0) -> list[Received]:
        async def enough() -> bool:
            return len(self.got) >= count

        await until(enough, within=within, every=0.02)
        return self.got

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                lines = head.decode().split("\r\n")[1:-2]
                headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
                body = await reader.readexactly(int(headers.get("content-length", 0)))
                self.got.append(Received(headers, body.decode()))
                answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
                if answer is None:
                    await self.answered.wait()
                    return
                status = f"HTTP/1.1 {answer} X\r\ncontent-length: 0\r\n\r\n".encode()
                writer.write(answer if isinstance(answer, bytes) else status)
                await writer.drain()
        except (asyncio.IncompleteReadError, ConnectionError):
            return
        finally:
            writer.close()


@pytest_asyncio.fixture
async def make_receiver() -> AsyncIterator[Callable[..., Awaitable[Receiver]]]:
    async with AsyncExitStack() as stack:

        async def make(*answers: int | bytes | None) -> Receiver:
            receiver = Receiver(list(answers) or [204])
            server = await asyncio.start_server(receiver.serve, "127.0.0.1", 0)
            stack.callback(server.close)
            stack.callback(receiver.answered.set)
            receiver.port = server.sockets[0].getsockname()[1]
            return receiver

        yield make


@pytest_asyncio.fixture
async def receiver(make_receiver: Callable[..., Awaitable[Receiver]]) -> Receiver:
    return await make_receiver()


@dataclass(slots=True)
class WebhookProcess:
    """One process of the service, inside the test; ``values`` override its settings."""

    engine: AsyncEngine
    database: Database
    bus: Bus
    metrics: Metrics
    values: dict[str, Any] = field(default_factory=dict)

    @asynccontextmanager
    async def running(self, **values: Any) -> AsyncIterator[Engine]:
        given = {
            "provider_keys": PROVIDER_KEYS,
            "outbound": WebhookOutbound(allow=("127.0.0.1",)),
            "otel_enabled": False,
        }
        own = Settings(_env_file=None, **{**given, **self.values, **values})  # type: ignore[call-arg]
        declared = declared_for(Service.WEBHOOKS)
        dispatcher = Dispatcher(self.bus, self.database, self.metrics, declared)
        nothing: Any = None
        opened = Runtime(
            *("webhooks", "webhooks-1", self.engine, self.database, self.bus, declared, dispatcher, self.metrics),
            *(Health(), nothing),
        )
        client = OutboundClient(own.outbound, user_agent="tests")
        engine = make_engine(opened, own, client)
        worker = make_worker(opened, own, engine)
        await engine.start()
        await worker.start()
        try:
            yield engine
        finally:
            await worker.stop()
            await engine.stop()
            await client.close()
            await dispatcher.close()


@pytest.fixture
def service(engine: AsyncEngine, job_database: Database, bus: Bus, metrics: Metrics) -> WebhookProcess:
    return WebhookProcess(engine, job_database, bus, metrics)


@dataclass(slots=True)
class Reconciler:
    """What it does for deliveries, when a test says so."""

    redrive: Redrive
    release: FairRelease

    async def run(self) -> int:
        return await self.redrive.run() + await self.release.run()


@pytest.fixture
def reconciler(job_database: Database, dispatcher: Dispatcher) -> Reconciler:
    policy = WorkPolicy.of(Settings(_env_file=None).work)  # type: ignore[call-arg]
    return Reconciler(Redrive(job_database, dispatcher, policy), FairRelease(job_database, dispatcher, policy, 16))


def fact(
    owner: str, *, collection_id: str = "col0011223344556677", kind: type[facts.Fact] = facts.DocumentUploaded
) -> facts.Fact:
    data = DocumentData(
        document_id=f"doc{uuid.uuid4().hex[:16]}",
        collection_id=collection_id,
        revision=1,
        status="PENDING",
        name="t.txt",
    )
    return kind(source="tests", type=kind.type_name, subject=data.document_id, owner=owner, data=data)


@dataclass(slots=True)
class Events:
    """Facts as services make them: in the outbox, then on NATS."""

    database: Database
    dispatcher: Dispatcher

    async def tell(self, *messages: facts.Fact) -> list[str]:
        """Their ids."""
        events = [outbox.event(message, None) for message in messages]
        async with self.database.durable.acquire() as conn:
            await outbox.add(conn, events)
        assert await self.dispatcher.relay(events) == len(events)
        return [event.id for event in events]


@pytest.fixture
def events(job_database: Database, dispatcher: Dispatcher) -> Events:
    return Events(job_database, dispatcher)


@dataclass(slots=True)
class Rows:
    engine: AsyncEngine

    async def all(self, sql: str, **values: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list(await conn.execute(text(sql), values))

    async def change(self, sql: str, **values: Any) -> None:
        async with self.engine.begin() as conn:
            await conn.execute(text(sql), values)

    async def until_all(self, sql: str, wanted: list[Any]) -> None:
        """The only columns of the rows that ``sql`` finds become ``wanted``."""
        found: list[Any] = []

        async def same() -> bool:
            found[:] = [row[0] for row in await self.all(sql)]
            return found == wanted

        try:
            await until(same, within=20, every=0.02)
        except AssertionError:
            raise AssertionError(f"{found} instead of {wanted}") from None


@pytest.fixture
def rows(engine: AsyncEngine) -> Rows:
    return Rows(engine)


STATUSES = "SELECT status FROM webhook_delivery ORDER BY created, id"


async def made(person: Person, url: str, **values: Any) -> dict[str, Any]:
    """A webhook of theirs, with its secret."""
    answer = await person.http.post("/webhooks", json={"url": url, **values})
    assert answer.status_code == 201, answer.text
    return dict(answer.json())


async def move_clock(rows: Rows, by: timedelta) -> None:
    """As if so much time had passed since everything was written."""
    await rows.change("UPDATE job SET due_at = due_at - CAST(:by AS interval) WHERE due_at < 'infinity'", by=by)
    await rows.change("UPDATE webhook_endpoint SET failing_since = failing_since - CAST(:by AS interval)", by=by)
