"""What one owner has in the queue: documents, or webhook deliveries that fail."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, ClassVar, Protocol

from sqlalchemy import text

from aperag_common.db.session import autocommit
from aperag_common.events.webhooks import WebhookTest, WebhookTestData
from aperag_standalone import ports
from aperag_testing.waiting import until
from aperag_work import deliveries
from aperag_work.database import driver
from aperag_work.delivery_rules import EventToSend, delivery
from bench.corpora.generated import page

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_testing.client import Client

PER_REQUEST = 50
"""Enough for the gateway to take them as bulk work."""
PER_INSERT = 500
IN_FLIGHT = 16
"""Deliveries that are published at once, as the fan-out would; the others are released as places become free."""
FIRST_DUE = timedelta(0)
"""Nobody publishes these at once: they are due for the reconciler, which does."""

_DOCUMENTS = text(
    """
    SELECT count(*) FILTER (WHERE kind = 'parse' AND status = 'PENDING' AND dispatch = 0) AS waiting,
        count(DISTINCT subject_id) FILTER (WHERE dispatch > 0
            AND status IN ('PENDING', 'CREATING', 'DELETING', 'DELETION_IN_PROGRESS')) AS released
    FROM job WHERE collection_id = :collection AND (kind = 'parse' OR kind LIKE 'index.%')
    """
)
_DELIVERIES = text(
    """
    SELECT count(*) FILTER (WHERE j.dispatch < 0) AS waiting, count(*) FILTER (WHERE j.dispatch > 0) AS released,
        coalesce(sum(jsonb_array_length(d.attempts)), 0) AS worked_off
    FROM webhook_delivery d JOIN job j ON j.subject_id = d.id AND j.kind = 'webhook.deliver'
    WHERE d.endpoint_id = :webhook AND d.status = 'pending'
    """
)


@dataclass(frozen=True, slots=True)
class Backlog:
    """What waits for its release, what is in flight, and what was done of it: documents ended, requests made."""

    waiting: int
    released: int
    worked_off: int


class Load(Protocol):
    """``things`` is what there is ``size`` of."""

    things: ClassVar[str]
    size: int

    async def queue(self) -> None: ...

    async def backlog(self) -> Backlog: ...


@dataclass(slots=True)
class Documents:
    """They are accepted when ``queue`` ends."""

    engine: AsyncEngine
    client: Client
    size: int
    things: ClassVar[str] = "documents"
    _collection: str = ""

    async def queue(self) -> None:
        self._collection = await self.client.collection("many")
        for first in range(0, self.size, PER_REQUEST):
            numbers = range(first, min(first + PER_REQUEST, self.size))
            await self.client.upload(self._collection, {f"{number}.md": page(number).encode() for number in numbers})

    async def backlog(self) -> Backlog:
        async with autocommit(self.engine) as conn:
            row = (await conn.execute(_DOCUMENTS, {"collection": self._collection})).one()
        return Backlog(row.waiting, row.released, self.size - row.waiting - row.released)


@dataclass(slots=True)
class Deliveries:
    """To a port where nobody listens; the first was tried when ``queue`` ends.

    Written as the fan-out writes them: no route makes so many events so soon.
    """

    engine: AsyncEngine
    client: Client
    size: int
    things: ClassVar[str] = "failing deliveries"
    _webhook: str = ""

    async def queue(self) -> None:
        url = f"http://127.0.0.1:{ports.free_port()}/"
        made = await self.client.json("POST", "/webhooks", expect=201, json={"url": url, "types": ["turn.*"]})
        self._webhook = made["id"]
        owner = (await self.client.json("GET", "/user"))["id"]
        for first in range(0, self.size, PER_INSERT):
            await self._insert(owner, min(PER_INSERT, self.size - first))

        async def tried() -> bool:
            return (await self.backlog()).worked_off > 0

        await until(tried, within=60, every=0.1)

    async def backlog(self) -> Backlog:
        async with autocommit(self.engine) as conn:
            row = (await conn.execute(_DELIVERIES, {"webhook": self._webhook})).one()
        return Backlog(row.waiting, row.released, row.worked_off)

    async def _insert(self, owner: str, count: int) -> None:
        data = WebhookTestData(webhook_id=self._webhook)
        messages = [WebhookTest.of(data, source="bench", subject=uuid.uuid4().hex, owner=owner) for _ in range(count)]
        new = [delivery(self._webhook, EventToSend.parse(message.encode())) for message in messages]
        async with self.engine.begin() as conn:
            await deliveries.insert(await driver(conn), new, in_flight_per_owner=IN_FLIGHT, first_due=FIRST_DUE)
