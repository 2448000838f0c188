"""Endpoints that events are sent to, and what was sent."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import ENCRYPTED, Base


class DisabledReason(StrEnum):
    """``gone``: the receiver answered 410. ``failing``: nothing has arrived for days. ``owner``: who owns it did it."""

    GONE = "gone"
    FAILING = "failing"
    OWNER = "owner"


class DeliveryStatus(StrEnum):
    PENDING = "pending"
    DELIVERED = "delivered"
    FAILED = "failed"


class WebhookEndpoint(Base):
    """Made and changed by the gateway; the webhooks service writes how it fares: the last three before ``created``.

    Empty ``types`` and no ``collection_ids`` mean all. ``previous_secret`` signs beside ``secret`` until
    ``previous_until``. ``failing_since`` is the first failure after which nothing has arrived.
    """

    __tablename__ = "webhook_endpoint"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    url: Mapped[str] = mapped_column(Text)
    description: Mapped[str | None] = mapped_column(Text)
    types: Mapped[list[str]] = mapped_column(ARRAY(String(64)))
    collection_ids: Mapped[list[str] | None] = mapped_column(ARRAY(String(24)))
    secret: Mapped[str] = mapped_column(Text, info=ENCRYPTED)
    previous_secret: Mapped[str | None] = mapped_column(Text, info=ENCRYPTED)
    previous_until: Mapped[datetime | None]
    failing_since: Mapped[datetime | None]
    disabled_at: Mapped[datetime | None]
    disabled_reason: Mapped[str | None] = mapped_column(String(12))
    created: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    updated: Mapped[datetime] = mapped_column(server_default=func.now())


class WebhookDelivery(Base):
    """One event for one endpoint; its id follows from both. Its job sends it.

    ``payload`` is what is sent, as it came. ``attempts`` are the last ones, oldest first:
    ``{attempt, at, seconds, status, code, message, response}``. ``settled_at`` is null while it is pending.
    """

    __tablename__ = "webhook_delivery"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    endpoint_id: Mapped[str] = mapped_column(ForeignKey("webhook_endpoint.id", ondelete="CASCADE"))
    owner: Mapped[str] = mapped_column(String(24), index=True)
    event_id: Mapped[str] = mapped_column(String(64))
    event_type: Mapped[str] = mapped_column(String(64))
    payload: Mapped[str] = mapped_column(Text)
    status: Mapped[str] = mapped_column(String(12), default=DeliveryStatus.PENDING, server_default="pending")
    attempts: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default=text("'[]'"))
    settled_at: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"), index=True)

    __table_args__ = (Index("ix_webhook_delivery_endpoint", "endpoint_id", text("created DESC"), "id"),)
