"""A document: the bytes someone uploaded and how far they have come."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import BigInteger, ForeignKey, Index, Integer, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class DocumentStatus(StrEnum):
    UPLOADED = "UPLOADED"
    EXPIRED = "EXPIRED"
    PENDING = "PENDING"
    RUNNING = "RUNNING"
    COMPLETE = "COMPLETE"
    FAILED = "FAILED"
    DELETED = "DELETED"


class Document(Base):
    """Created, confirmed and marked DELETED by the gateway; PENDING → RUNNING → COMPLETE | FAILED is derived
    from the steps by whoever settles one (indexer); EXPIRED and the row's removal are the reconciler's.

    ``revision`` rises under the row's lock with every change that an event tells of.
    A row with ``deleted_at`` is a tombstone. ``chat_id`` names the chat whose file it is: it is found there and nowhere
    else. Whoever deletes a chat deletes its documents in the same transaction.
    """

    __tablename__ = "document"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    collection_id: Mapped[str] = mapped_column(ForeignKey("collection.id"), index=True)
    chat_id: Mapped[str | None] = mapped_column(String(24))
    owner: Mapped[str] = mapped_column(String(24))
    name: Mapped[str] = mapped_column(String(1024))
    status: Mapped[str] = mapped_column(String(12))
    size: Mapped[int] = mapped_column(BigInteger)
    sha256: Mapped[str] = mapped_column(String(64))
    object_path: Mapped[str] = mapped_column(String(1024))
    revision: Mapped[int] = mapped_column(Integer, default=1)
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index(
            "uq_document_living_name",
            "collection_id",
            text("coalesce(chat_id, '')"),
            "name",
            unique=True,
            postgresql_where=text("deleted_at IS NULL AND status <> 'EXPIRED'"),
        ),
        # What counts against its owner's quota, in the words of the gateway's count.
        Index(
            "ix_document_owned",
            "owner",
            "collection_id",
            postgresql_where=text("deleted_at IS NULL AND status NOT IN ('UPLOADED', 'EXPIRED')"),
        ),
        Index("ix_document_chat", "chat_id", postgresql_where=text("chat_id IS NOT NULL AND deleted_at IS NULL")),
        Index("ix_document_tombstone", "deleted_at", postgresql_where=text("deleted_at IS NOT NULL")),
        Index("ix_document_uploaded", "created", postgresql_where=text("status = 'UPLOADED'")),
    )
