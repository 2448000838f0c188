"""A webhook receiver: it believes what is signed, and notes which event came when, and how often."""

from __future__ import annotations

import json
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import TYPE_CHECKING, Any

from standardwebhooks import Webhook, WebhookVerificationError

from aperag_testing.site import Asked, head

if TYPE_CHECKING:
    import asyncio

    from aperag_testing.site import Site

PATH = "/hook"


@dataclass(slots=True)
class Receiver:
    """``seconds`` are from each event's own time to its first delivery; ``ids`` counts deliveries by ``webhook-id``.

    Until ``secret`` is known everything is refused; ``unsigned`` are the ids of what did not verify.
    """

    secret: str | None = None
    unsigned: list[str] = field(default_factory=list)
    seconds: dict[str, float] = field(default_factory=dict)
    ids: Counter[str] = field(default_factory=Counter)
    events: dict[str, set[str]] = field(default_factory=dict)

    def serve(self, site: Site) -> str:
        """The address to be called."""

        async def take(asked: Asked, writer: asyncio.StreamWriter) -> None:
            now = time.time()
            good = self.verifies(asked)
            if good:
                self.take(asked.headers["webhook-id"], json.loads(asked.body), now=now)
            writer.write(head(204 if good else 401, "text/plain", length=0))

        return site.play(PATH, take)

    def verifies(self, asked: Asked) -> bool:
        with suppress(WebhookVerificationError):
            if self.secret is not None:
                Webhook(self.secret).verify(asked.body, asked.headers)
                return True
        self.unsigned.append(asked.headers.get("webhook-id", ""))
        return False

    def take(self, delivery: str, event: dict[str, Any], *, now: float) -> None:
        self.ids[delivery] += 1
        self.events.setdefault(event["id"], set()).add(delivery)
        self.seconds.setdefault(event["id"], now - datetime.fromisoformat(event["time"]).timestamp())

    def forget(self) -> None:
        """What came so far is not measured."""
        for held in (self.seconds, self.ids, self.events):
            held.clear()

    @property
    def under_two_ids(self) -> list[str]:
        """Events that were delivered under more than one id: a receiver could not know them as one."""
        return [event for event, ids in self.events.items() if len(ids) > 1]
