"""Which events go to which webhooks; pure."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Any

from aperag_common import ids
from aperag_common.events import facts
from aperag_common.events.envelope import Message
from aperag_common.events.filters import matches
from aperag_common.jobs.declared import WEBHOOK_DELIVER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

LONGEST_NAME = 64
"""Of an event's id and type, as the columns hold them."""
LONGEST_ID = 24
CLOCKS = timedelta(seconds=2)
"""An event is dated by its service, an endpoint by the database: by so much their clocks may differ."""


@dataclass(frozen=True, slots=True)
class Subscribed:
    """An endpoint, as far as it decides what it is sent."""

    id: str
    owner: str
    types: Sequence[str]
    collection_ids: Sequence[str] | None
    created: datetime


@dataclass(frozen=True, slots=True)
class EventToSend:
    """``payload`` is the whole event, as it is sent."""

    id: str
    type: str
    owner: str
    time: datetime
    data: dict[str, Any]
    payload: str
    traceparent: str | None = None

    @classmethod
    def parse(cls, payload: bytes | str, traceparent: str | None = None) -> EventToSend:
        """Raises ``ValueError`` for what is no event, or none that the database keeps."""
        read = Message.model_validate_json(payload)
        data = read.data if isinstance(read.data, dict) else {}
        body = payload.decode() if isinstance(payload, bytes) else payload
        about = str(data.get("collection_id") or "")
        if read.time.tzinfo is None or max(len(read.id), len(read.type)) > LONGEST_NAME or len(about) > LONGEST_ID:
            raise ValueError("its time has no zone, or one of its names is too long")
        if "\0" in read.id + read.type + about:
            raise ValueError("one of its names holds a NUL")
        return cls(read.id, read.type, read.owner, read.time, data, body, traceparent)

    @property
    def collection_id(self) -> str | None:
        found = self.data.get("collection_id")
        return found if isinstance(found, str) else None

    @property
    def about_webhooks(self) -> bool:
        """A failing webhook would be told of its own failures, each of which is the next one to tell."""
        if self.type.startswith("webhook."):
            return True
        works = WEBHOOK_DELIVER.works
        return self.type == facts.StepDeadLettered.type_name and self.data.get("consumer") in {
            w.consumer for w in works
        }


@dataclass(frozen=True, slots=True)
class NewDelivery:
    id: str
    endpoint_id: str
    owner: str
    collection_id: str | None
    event_id: str
    event_type: str
    payload: str
    traceparent: str | None


def wants(endpoint: Subscribed, event: EventToSend) -> bool:
    """Whether the endpoint's filters let the event through; when it happened is not asked."""
    if event.owner != endpoint.owner or event.about_webhooks or not matches(endpoint.types, event.type):
        return False
    return endpoint.collection_ids is None or event.collection_id in endpoint.collection_ids


def delivery(endpoint_id: str, event: EventToSend) -> NewDelivery:
    return NewDelivery(
        ids.delivery_id(endpoint_id, event.id),
        endpoint_id,
        event.owner,
        event.collection_id,
        event.id,
        event.type,
        event.payload,
        event.traceparent,
    )


def fan_out(events: Iterable[EventToSend], endpoints: Iterable[Subscribed]) -> list[NewDelivery]:
    """One delivery for each event and endpoint that wants it; what happened before there was the endpoint is not sent."""
    by_owner: dict[str, list[Subscribed]] = defaultdict(list)
    for endpoint in endpoints:
        by_owner[endpoint.owner].append(endpoint)
    made = {
        new.id: new
        for event in events
        for endpoint in by_owner.get(event.owner, ())
        if event.time >= endpoint.created - CLOCKS and wants(endpoint, event)
        for new in (delivery(endpoint.id, event),)
    }
    return list(made.values())
