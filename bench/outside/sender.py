"""Another service: it publishes CloudEvents on NATS, and repeats what was not acknowledged."""

from __future__ import annotations

import asyncio
import json
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from nats.errors import Error as NatsError

from aperag_common import subjects
from aperag_common.bus.connection import connect
from aperag_common.events.ingest import DELETE, STRUCTURED, UPSERT
from aperag_common.settings import NatsSettings

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from aperag_common.bus.connection import Bus
    from aperag_testing.chaos.outside import Sent
    from aperag_testing.stack import Stack

AGAIN_SECONDS = 0.1


@dataclass(slots=True)
class Sender:
    """``repeated`` counts publishes that were not acknowledged; ``source`` and an event's id make them harmless."""

    bus: Bus
    subject: str
    source: str
    repeated: int = 0

    async def send(self, event: Sent) -> None:
        body = json.dumps(attributes(event, self.source)).encode()
        headers = {"content-type": STRUCTURED}
        while True:
            try:
                await self.bus.js.publish(self.subject, body, headers=headers)
            except (NatsError, OSError, TimeoutError):
                self.repeated += 1
                await asyncio.sleep(AGAIN_SECONDS)
            else:
                return


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
async def sending(stack: Stack, owner: str, collection: str) -> AsyncIterator[Sender]:
    """With the gateway's own identity, which may publish events of anybody."""
    settings = NatsSettings(url=stack.state()["nats_url"], seed_file=stack.home / "secrets" / "api.nk")
    bus = await connect(settings, service="api", instance="bench")
    try:
        yield Sender(bus, subjects.ingest(owner, collection), f"/bench/{collection}")
    finally:
        await bus.close()
