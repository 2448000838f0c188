"""A collection of documents that are searched together."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import ENCRYPTED, Base


class CollectionStatus(StrEnum):
    INACTIVE = "INACTIVE"
    ACTIVE = "ACTIVE"
    DELETED = "DELETED"


class Collection(Base):
    """Created, changed and marked DELETED by the gateway; its row is removed by the reconciler's purge.

    ``analyzer`` is fixed at creation: what happens to be importable at query time
    never decides how a collection is read. ``config`` holds the credentials of the source, encrypted.

    ``wanted_model`` is the embedding model that is built beside ``active_model`` and takes its place once it is whole.
    ``switching_since`` is when these two were last changed; null once no vectors of other models are left.
    """

    __tablename__ = "collection"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id"), index=True)
    title: Mapped[str] = mapped_column(String(256))
    description: Mapped[str] = mapped_column(Text, default="")
    type: Mapped[str] = mapped_column(String(16), default="document")
    status: Mapped[str] = mapped_column(String(12), default=CollectionStatus.ACTIVE)
    config: Mapped[dict[str, Any]] = mapped_column(info=ENCRYPTED)
    analyzer: Mapped[str] = mapped_column(String(64))
    active_model: Mapped[str] = mapped_column(String(400))
    wanted_model: Mapped[str | None] = mapped_column(String(400))
    switching_since: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]

    __table_args__ = (
        Index("ix_collection_switching", "switching_since", postgresql_where=text("switching_since IS NOT NULL")),
    )
