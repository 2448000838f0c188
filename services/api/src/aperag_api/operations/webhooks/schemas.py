"""Webhooks as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

from aperag_api.kernel.validation import RequestBody
from aperag_common.db.models.webhook import DeliveryStatus, DisabledReason

MOST_TYPES = 50
MOST_COLLECTIONS = 100
MOST_REPLAYED = 10_000


_Type = Annotated[str, Field(min_length=1, max_length=64)]
_CollectionId = Annotated[str, Field(min_length=1, max_length=24)]


class WebhookChange(RequestBody):
    """``types`` are exact, as ``document.indexed``, or of a whole kind, as ``document.*``; none: every event.

    ``collection_ids`` are your own; left out: events of all of them, and events that are about none.
    """

    model_config = ConfigDict(extra="forbid")

    url: Annotated[str, Field(min_length=1, max_length=2000)]
    description: Annotated[str, Field(max_length=1000)] | None = None
    types: list[_Type] = Field(default_factory=list, max_length=MOST_TYPES)
    collection_ids: Annotated[list[_CollectionId], Field(min_length=1, max_length=MOST_COLLECTIONS)] | None = None


class ReplayRequest(RequestBody):
    """Events from ``since`` on, up to ``until`` (now); with ``failed_only`` those whose delivery was given up."""

    model_config = ConfigDict(extra="forbid")

    since: AwareDatetime
    until: AwareDatetime | None = None
    failed_only: bool = False


class WebhookOut(BaseModel):
    """``failing_since``: nothing has arrived since then. ``disabled_reason`` is ``gone``, ``failing`` or ``owner``.

    Until ``previous_secret_until`` deliveries are signed with the previous secret as well.
    """

    id: str
    url: str
    description: str | None
    types: list[str]
    collection_ids: list[str] | None
    enabled: bool
    disabled_at: datetime | None
    disabled_reason: DisabledReason | None
    failing_since: datetime | None
    previous_secret_until: datetime | None
    created: datetime
    updated: datetime


class WebhookWithSecret(WebhookOut):
    """``secret`` is shown in this answer and never again."""

    secret: str


class WebhookList(BaseModel):
    items: list[WebhookOut]


class AttemptOut(BaseModel):
    """One request. ``status`` is null where there was no answer, ``response`` is how its body begins (1,024 bytes).

    ``code`` and ``message`` say what went wrong, null where nothing did; ``seconds`` is how long it took.
    """

    attempt: int
    at: datetime
    seconds: float
    status: int | None
    code: str | None
    message: str | None
    response: str | None


class DeliveryOut(BaseModel):
    """``id`` is what the receiver gets as ``webhook-id``. ``last`` is the newest attempt; ``next_attempt_at`` is null
    where none is planned.
    """

    id: str
    webhook_id: str
    event_id: str
    event_type: str
    status: DeliveryStatus
    attempts: int
    last: AttemptOut | None
    next_attempt_at: datetime | None
    created: datetime
    settled_at: datetime | None


class DeliveryDetails(DeliveryOut):
    """``payload`` is the event as it is sent, ``log`` holds the newest attempts, the oldest of them first."""

    payload: dict[str, Any]
    log: list[AttemptOut]


class Queued(BaseModel):
    """A delivery that is on its way: ask for it to see what became of it."""

    delivery_id: str


class ReplayAnswer(BaseModel):
    """``deliveries`` are sent under their old ids, ``added`` of them for the first time."""

    deliveries: int
    added: int
