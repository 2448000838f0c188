"""Durable subscriptions of other services to events: the truth that consumers on the event stream follow."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import BigInteger, Boolean, ForeignKey, String, UniqueConstraint, func
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class EventSubscription(Base):
    """Its consumer is named ``sub-<id>``. ``types`` without a value: all events of the owner; ``all_owners``: of everybody.

    It begins at ``start_sequence`` of the stream that was made at ``stream_created``, or at ``start_time``. In a stream
    that began anew its consumer begins with the first event: what was kept is there again.

    Written by the gateway; goes with its user.
    """

    __tablename__ = "event_subscription"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    name: Mapped[str] = mapped_column(String(128))
    types: Mapped[list[str] | None] = mapped_column(ARRAY(String(64)))
    all_owners: Mapped[bool] = mapped_column(Boolean, server_default="false")
    start_sequence: Mapped[int | None] = mapped_column(BigInteger)
    start_time: Mapped[datetime | None]
    stream_created: Mapped[datetime]
    created: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (UniqueConstraint("owner", "name"),)
