"""Events as another service sends them: CloudEvents over HTTP, in the binary mode."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any
from urllib.parse import quote

from aperag_cli.client.patience import Patience

if TYPE_CHECKING:
    from collections.abc import Callable

    from aperag_cli.client.errors import ApiError
    from aperag_cli.client.http import Http

UPSERT = "aperag.document.upsert"
DELETE = "aperag.document.delete"
EVENTS = "/ingest/events"
LOOK_SECONDS = 0.2


@dataclass(frozen=True, slots=True)
class Event:
    """``time`` is in ISO 8601, with its zone."""

    id: str
    source: str
    type: str
    subject: str
    time: str
    collection_id: str

    @property
    def headers(self) -> dict[str, str]:
        named = {
            "specversion": "1.0",
            "id": self.id,
            "source": self.source,
            "type": self.type,
            "subject": self.subject,
            "time": self.time,
            "collection": self.collection_id,
        }
        return {f"ce-{name}": quote(value, safe="/:#?&=@+,;~!*'()") for name, value in named.items()}


async def send(http: Http, event: Event, content: bytes, media_type: str) -> None:
    """Safe to repeat: the event is known by its source and id."""
    headers = {**event.headers, "content-type": media_type}
    await http.json("POST", EVENTS, content=content, headers=headers)


async def status(http: Http, source: str, id_: str) -> dict[str, Any]:
    return dict(await http.json("GET", EVENTS, params={"source": source, "id": id_}))


async def settled(http: Http, event: Event, *, told: Callable[[ApiError], None]) -> dict[str, Any]:
    """What became of the event, once it is carried out or has failed."""
    while True:
        found = await Patience().get(lambda: status(http, event.source, event.id), told=told)
        if found["status"] != "PENDING":
            return found
        await asyncio.sleep(LOOK_SECONDS)
