"""What other services may use, as values: each part of the system registers its own channels."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from pydantic import BaseModel

JSON = "application/json"
CLOUDEVENTS_JSON = "application/cloudevents+json"


class Action(StrEnum):
    """What ApeRAG does with the channel's messages."""

    SEND = "send"
    RECEIVE = "receive"


class Group(StrEnum):
    """Headings of the page, in its order."""

    EVENTS = "events"
    SUBSCRIPTIONS = "durable subscriptions"
    INGEST = "ingest"
    WEBHOOKS = "webhooks"


class Server(StrEnum):
    """Keys of the document's servers."""

    NATS = "nats"
    RECEIVER = "receiver"


@dataclass(frozen=True, slots=True)
class Form:
    """One message of a channel: ``payloads`` are the classes that it is one of; the schema of each is its class'.

    A class' docstring is its published description.
    """

    name: str
    payloads: tuple[type[BaseModel], ...]
    summary: str
    content_type: str = JSON
    headers: type[BaseModel] | None = None


@dataclass(frozen=True, slots=True)
class Channel:
    """``name`` is the channel's key in the document; ``address`` None: known to the receiver alone.

    ``parameters`` describe what stands in braces in ``address``. ``replies`` are what a requester is answered with.
    """

    name: str
    group: Group
    action: Action
    address: str | None
    title: str
    description: str
    messages: tuple[Form, ...]
    server: Server = Server.NATS
    parameters: Mapping[str, str] = field(default_factory=dict)
    replies: tuple[Form, ...] = ()


_registered: dict[str, Channel] = {}


def register(*channels: Channel) -> None:
    """Raises ``ValueError`` for a name that is taken by another channel."""
    for channel in channels:
        if _registered.setdefault(channel.name, channel) != channel:
            message = f"two channels are called {channel.name}"
            raise ValueError(message)


def channels() -> tuple[Channel, ...]:
    """By group; those of one group as they were registered."""
    groups = list(Group)
    return tuple(sorted(_registered.values(), key=lambda it: groups.index(it.group)))
