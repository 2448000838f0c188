"""Work that ended FAILED, with all that is needed to understand it and run it again."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any

from sqlalchemy import Index, Integer, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class DeadLetter(Base):
    """Inserted by the transaction that fails the row, or by the reconciler where the NATS server gave a message up;
    never changed after, but for the two columns of its redrive, which are the gateway's.

    ``kind`` is what people call the job kind; null for a message that was no command at all.
    ``redriven_workflow_id`` is the task of the redrive, where the row is a document's step.
    """

    __tablename__ = "dead_letter"

    id: Mapped[uuid.UUID] = mapped_column(primary_key=True)
    owner: Mapped[str | None] = mapped_column(String(24), index=True)
    consumer: Mapped[str] = mapped_column(String(32))
    subject: Mapped[str] = mapped_column(String(256))
    row_id: Mapped[str | None] = mapped_column(String(24))
    document_id: Mapped[str | None] = mapped_column(String(24))
    collection_id: Mapped[str | None] = mapped_column(String(24))
    workflow_id: Mapped[str | None] = mapped_column(String(24))
    kind: Mapped[str | None] = mapped_column(String(24))
    generation: Mapped[int | None] = mapped_column(Integer)
    attempt: Mapped[int] = mapped_column(Integer)
    failures: Mapped[int] = mapped_column(Integer, default=0, server_default=text("0"))
    worker: Mapped[str | None] = mapped_column(String(64))
    code: Mapped[str] = mapped_column(String(64))
    message: Mapped[str] = mapped_column(Text)
    payload: Mapped[dict[str, Any]]
    headers: Mapped[dict[str, Any]]
    traceparent: Mapped[str | None] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    redriven_at: Mapped[datetime | None]
    redriven_workflow_id: Mapped[str | None] = mapped_column(String(24))

    __table_args__ = (
        Index("ix_dead_letter_created", "created"),
        Index("ix_dead_letter_row", "row_id"),
        Index("ix_dead_letter_open", "code", postgresql_where=text("redriven_at IS NULL")),
    )
