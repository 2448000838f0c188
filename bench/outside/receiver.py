"""A webhook receiver: it notes which event came when, and how often."""

from __future__ import annotations

import json
import time
from collections import Counter
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from aperag_testing.site import Asked, head

if TYPE_CHECKING:
    import asyncio

    from aperag_testing.site import Site

PATH = "/hook"


@dataclass(slots=True)
class Receiver:
    """``seconds`` are from each event's own time to its first delivery; ``ids`` counts deliveries by ``webhook-id``."""

    seconds: dict[str, float] = field(default_factory=dict)
    ids: Counter[str] = field(default_factory=Counter)
    events: dict[str, set[str]] = field(default_factory=dict)

    def serve(self, site: Site) -> str:
        """The address to be called."""

        async def take(asked: Asked, writer: asyncio.StreamWriter) -> None:
            self.take(asked.headers.get("webhook-id", ""), json.loads(asked.body), now=time.time())
            writer.write(head(200, "text/plain", length=0))

        return site.play(PATH, take)

    def take(self, delivery: str, event: dict[str, Any], *, now: float) -> None:
        self.ids[delivery] += 1
        self.events.setdefault(event["id"], set()).add(delivery)
        self.seconds.setdefault(event["id"], now - datetime.fromisoformat(event["time"]).timestamp())

    @property
    def under_two_ids(self) -> list[str]:
        """Events that were delivered under more than one id: a receiver could not know them as one."""
        return [event for event, ids in self.events.items() if len(ids) > 1]
