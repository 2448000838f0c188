"""Events of other services, and which of them each document of theirs stands at."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, Boolean, ForeignKey, Identity, Index, String, Text, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class IngestStatus(StrEnum):
    PENDING = "PENDING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class IngestOutcome(StrEnum):
    """What an event did. ``absent``: there was nothing to delete. ``superseded``: a newer event was there first."""

    CREATED = "created"
    REPLACED = "replaced"
    UNCHANGED = "unchanged"
    DELETED = "deleted"
    ABSENT = "absent"
    SUPERSEDED = "superseded"


class IngestEvent(Base):
    """Written by the gateway when it takes an event in; its job is the gateway's too. The reconciler forgets old ones.

    ``source``, ``event_id``, ``type``, ``subject`` and ``time`` are CloudEvents' attributes; ``time`` is when the event
    came where it names none. ``seq`` is the order in which events came. ``data`` is what is asked, without content:
    that lies in the object store, under the id that the document will have if it is a new one (``new_document_id``).
    ``traceparent`` is the sender's; the work has a trace of its own, which is linked to it.
    """

    __tablename__ = "ingest_event"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    seq: Mapped[int] = mapped_column(BigInteger, Identity(always=True))
    owner: Mapped[str] = mapped_column(String(24))
    collection_id: Mapped[str] = mapped_column(String(24))
    source: Mapped[str] = mapped_column(Text)
    event_id: Mapped[str] = mapped_column(Text)
    type: Mapped[str] = mapped_column(Text)
    subject: Mapped[str | None] = mapped_column(Text)
    time: Mapped[datetime]
    data: Mapped[dict[str, Any]]
    new_document_id: Mapped[str | None] = mapped_column(String(24))
    traceparent: Mapped[str | None] = mapped_column(String(64))
    status: Mapped[str] = mapped_column(String(12), server_default=IngestStatus.PENDING)
    outcome: Mapped[str | None] = mapped_column(String(12))
    document_id: Mapped[str | None] = mapped_column(String(24))
    workflow_id: Mapped[str | None] = mapped_column(String(24))
    code: Mapped[str | None] = mapped_column(String(64))
    message: Mapped[str | None] = mapped_column(Text)
    received: Mapped[datetime] = mapped_column(server_default=text("clock_timestamp()"))
    settled: Mapped[datetime | None]

    __table_args__ = (
        UniqueConstraint("owner", "source", "event_id"),
        Index("ix_ingest_event_received", "received"),
        Index("ix_ingest_event_pending", "owner", postgresql_where=text("status = 'PENDING'")),
        # Whose content must not be taken for waste: one that failed may be run again.
        Index("ix_ingest_event_content", "new_document_id", postgresql_where=text("status <> 'COMPLETED'")),
    )


class IngestVersion(Base):
    """The newest event that was carried out for one document of a sender, by the sender's own key; the gateway's.

    Kept as long as its collection, also where the document is deleted: an older event that comes late must not bring it
    back. ``time`` and ``seq`` are those of the event, and decide in this order which one is newer.
    """

    __tablename__ = "ingest_version"

    collection_id: Mapped[str] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), primary_key=True)
    source: Mapped[str] = mapped_column(Text, primary_key=True)
    subject: Mapped[str] = mapped_column(Text, primary_key=True)
    time: Mapped[datetime | None]
    seq: Mapped[int | None] = mapped_column(BigInteger)
    document_id: Mapped[str | None] = mapped_column(String(24))
    deleted: Mapped[bool] = mapped_column(Boolean, server_default=text("false"))
