"""Durable subscriptions as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import AwareDatetime, BaseModel, Field

from aperag_api.kernel.validation import RequestBody

EventType = Annotated[str, Field(max_length=64, pattern=r"^[a-z_]+\.([a-z_]+|\*)$", examples=["document.*"])]


class FromSequence(RequestBody):
    sequence: Annotated[int, Field(ge=1, lt=2**63)]


class FromTime(RequestBody):
    time: AwareDatetime


class SubscriptionCreate(RequestBody):
    """``types``: exact, or a whole aggregate as `document.*`; none = all. ``start``: the first event that it brings.

    ``all_owners``: everybody's events, for administrators.
    """

    name: Annotated[str, Field(min_length=1, max_length=128)]
    types: Annotated[list[EventType], Field(min_length=1, max_length=32)] | None = None
    start: Literal["now"] | FromSequence | FromTime = "now"
    all_owners: bool = False


class Start(BaseModel):
    """One of both. A subscription that began now has the sequence of the next event."""

    sequence: int | None = None
    time: datetime | None = None


class SubscriptionView(BaseModel):
    """A client reads from ``consumer`` of ``stream``."""

    id: str
    name: str
    stream: str
    consumer: str
    types: list[str] | None
    all_owners: bool
    filter_subjects: list[str]
    start: Start
    created: datetime


class SubscriptionState(SubscriptionView):
    """``pending`` events wait, ``ack_pending`` are delivered and not acknowledged.

    All are null for the moments until a lost consumer is made again.
    """

    pending: int | None = None
    ack_pending: int | None = None
    redelivered: int | None = None
    last_acknowledged: datetime | None = None


class SubscriptionList(BaseModel):
    items: list[SubscriptionView]
