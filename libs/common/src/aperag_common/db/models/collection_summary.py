"""A collection's summary, and the documents that it was made of."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class CollectionSummary(Base):
    """There is one while the collection's config enables summaries; ``id`` is the collection's.

    Its job is wanted again by the gateway (a person asks) and by the reconciler (documents changed); the indexer writes
    it. ``documents_hash`` stands for the documents that ``summary`` was made of.
    """

    __tablename__ = "collection_summary"

    id: Mapped[str] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), primary_key=True)
    owner: Mapped[str] = mapped_column(String(24))
    summary: Mapped[str | None] = mapped_column(Text)
    documents: Mapped[int | None] = mapped_column(Integer)
    documents_hash: Mapped[str | None] = mapped_column(String(64))
    collection_updated: Mapped[datetime | None]
