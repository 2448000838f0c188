"""Facts waiting for, or remembered after, their publication as events."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import DateTime, Index, Integer, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class Outbox(Base):
    """Inserted in the transaction that makes the fact true; relayed by the same process, swept by the reconciler.

    ``epoch`` is the life of the event stream that the row was relayed to, and ``relayed`` when; null before. Rows stay
    as long after that as the stream keeps its messages, so that a wiped stream can be filled again.
    """

    __tablename__ = "outbox"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    subject: Mapped[str] = mapped_column(String(256))
    payload: Mapped[dict[str, Any]]
    traceparent: Mapped[str | None] = mapped_column(String(64))
    epoch: Mapped[int | None] = mapped_column(Integer)
    relayed: Mapped[datetime | None] = mapped_column(DateTime(timezone=True))
    created: Mapped[datetime] = mapped_column(DateTime(timezone=True), server_default=text("clock_timestamp()"))

    __table_args__ = (
        Index("ix_outbox_epoch", "epoch"),
        Index("ix_outbox_created", "created"),
    )


class StreamEpoch(Base):
    """How often a stream was seen to start anew; one row per stream, raised by the reconciler's compare-and-set."""

    __tablename__ = "stream_epoch"

    stream: Mapped[str] = mapped_column(String(64), primary_key=True)
    epoch: Mapped[int] = mapped_column(Integer)
    stream_created: Mapped[datetime]
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
