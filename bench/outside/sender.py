"""Another service: it publishes CloudEvents on NATS, and repeats what was not acknowledged."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import nats
from nats.errors import Error as NatsError

from aperag_common import subjects
from aperag_common.events.ingest import DELETE, STRUCTURED, UPSERT

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from nats.aio.client import Client as Connection

    from aperag_testing.chaos.outside import Sent
    from aperag_testing.client import Client

AGAIN_SECONDS = 0.1
PATIENCE = 5.0
FOR_EVER = -1


@dataclass(slots=True)
class Sender:
    """``access`` is what ``GET /nats`` answers the key. ``repeated`` counts publishes that were not acknowledged;
    ``source`` and an event's id make them harmless.
    """

    key: str
    access: dict[str, Any]
    subject: str
    source: str
    repeated: int = 0
    _connection: Connection | None = None
    _opening: asyncio.Lock = field(default_factory=asyncio.Lock)

    async def send(self, event: Sent) -> None:
        body = json.dumps(attributes(event, self.source)).encode()
        headers = {"content-type": STRUCTURED}
        while True:
            try:
                js = (await self._connected()).jetstream(timeout=PATIENCE)
                await js.publish(self.subject, body, headers=headers)
            except (NatsError, OSError, TimeoutError):
                self.repeated += 1
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return

    async def _connected(self) -> Connection:
        """Opened again where the client has given up: while no gateway is there, the server refuses every key."""
        async with self._opening:
            if self._connection is None or self._connection.is_closed:
                self._connection = await nats.connect(
                    self.access["servers"],
                    token=self.key,
                    inbox_prefix=self.access["inbox_prefix"],
                    reconnect_time_wait=AGAIN_SECONDS,
                    max_reconnect_attempts=FOR_EVER,
                    error_cb=_unheard,
                )
            return self._connection

    async def close(self) -> None:
        if self._connection is not None:
            await self._connection.close()


async def _unheard(_: Exception) -> None:
    """What a publish does not hear of, its acknowledgement tells."""


def attributes(event: Sent, source: str) -> dict[str, object]:
    """As CloudEvents' JSON has it."""
    found: dict[str, object] = {
        "specversion": "1.0",
        "id": event.id,
        "source": source,
        "type": DELETE if event.content is None else UPSERT,
        "subject": event.subject,
        "time": event.time.isoformat(),
    }
    return found if event.content is None else {**found, "data": {"content": event.content}}


@asynccontextmanager
async def sending(client: Client, collection: str) -> AsyncIterator[Sender]:
    """With a key of its own, as a stranger connects."""
    body = {"description": "another service", "collection_ids": [collection]}
    key = str((await client.json("POST", "/apikeys", json=body))["key"])
    access = await client.json("GET", "/nats", headers={"Authorization": f"Bearer {key}"})
    sender = Sender(key, access, subjects.ingest(access["owner"], collection), f"/bench/{collection}")
    try:
        yield sender
    finally:
        await sender.close()
