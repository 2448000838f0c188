"""A sender of events, and a gateway that takes and carries them out."""

from __future__ import annotations

import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from sqlalchemy import text

from aperag_api.knowledge.ingest.assembly import make_worker
from aperag_common import subjects
from aperag_common.events.ingest import DELETE, STRUCTURED, UPSERT
from aperag_testing.waiting import until

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.js.api import PubAck
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.edge.gateway import Gateway
    from aperag_api.edge.settings import Settings
    from aperag_common.bus.connection import Bus
    from aperag_work.runtime import Runtime

SOURCE = "/wiki"


@asynccontextmanager
async def working(runtime: Runtime, settings: Settings, gateway: Gateway) -> AsyncIterator[None]:
    """As ``python -m aperag_api`` has it besides the web server."""
    engine = runtime.job_engine(settings)
    worker = make_worker(runtime, engine, gateway.knowledge.ingest)
    await engine.start()
    await worker.start()
    try:
        yield
    finally:
        await worker.stop()
        await engine.stop()


def attributes(id_: str, subject: str | None, type_: str, **more: str) -> dict[str, str]:
    wanted = {"specversion": "1.0", "id": id_, "source": SOURCE, "type": type_, "subject": subject, **more}
    return {name: value for name, value in wanted.items() if value is not None}


@dataclass(slots=True)
class Sender:
    """Another service with Alice's key, on NATS; ``http`` carries the key."""

    bus: Bus
    engine: AsyncEngine
    owner: str
    collection: str
    http: Any
    _sent: int = field(default=0)

    async def publish(self, headers: dict[str, str] | None, body: bytes, *, collection: str = "") -> PubAck:
        subject = subjects.ingest(self.owner, collection or self.collection)
        return await self.bus.js.publish(subject, body, headers=headers)

    async def send(self, type_: str, subject: str | None, data: Any = None, **more: str) -> str:
        """Structured; the id of the event."""
        self._sent += 1
        event = attributes(more.pop("id", f"e{self._sent}"), subject, type_, **more)
        body = {**event, **({} if data is None else {"data": data})}
        await self.publish({"content-type": STRUCTURED}, json.dumps(body).encode())
        return event["id"]

    async def upsert(self, subject: str, content: str, **more: str) -> str:
        return await self.send(UPSERT, subject, {"content": content}, **more)

    async def delete(self, subject: str, **more: str) -> str:
        return await self.send(DELETE, subject, **more)

    async def binary(self, id_: str, subject: str, body: bytes, media_type: str, **more: str) -> PubAck:
        named = attributes(id_, subject, UPSERT, **more)
        return await self.publish(
            {**{f"ce-{name}": quote(value) for name, value in named.items()}, "content-type": media_type}, body
        )

    async def look(self, id_: str, source: str = SOURCE) -> dict[str, Any]:
        answer = await self.http.get("/ingest/events", params={"source": source, "id": id_})
        return dict(answer.json()) if answer.status_code == 200 else {"status": str(answer.status_code)}

    async def settled(self, id_: str, source: str = SOURCE) -> dict[str, Any]:
        """What became of the event, once that is known."""

        async def told() -> dict[str, Any] | None:
            found = await self.look(id_, source)
            return None if found["status"] in {"PENDING", "404"} else found

        return await until(told, every=0.02)

    async def outcome(self, id_: str) -> str:
        found = await self.settled(id_)
        return str(found["outcome"] or found["code"])

    async def rows(self, sql: str, **parameters: Any) -> list[Any]:
        async with self.engine.connect() as conn:
            return list(await conn.execute(text(sql), parameters))

    async def documents(self) -> list[dict[str, Any]]:
        answer = await self.http.get(f"/collections/{self.collection}/documents")
        return list(answer.json()["items"])

    async def content(self, document_id: str) -> bytes:
        answer = await self.http.get(f"/collections/{self.collection}/documents/{document_id}/download")
        return bytes(answer.content)

    async def facts(self) -> list[dict[str, Any]]:
        """What was told of events, in order."""
        rows = await self.rows("SELECT payload FROM outbox WHERE subject LIKE :of ORDER BY created", of="%.ingest.%")
        return [row.payload for row in rows]
