"""The driven row that keeps a collection's description in step with its documents."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base, DrivenMixin, due_index


class CollectionSummary(DrivenMixin, Base):
    """There is one while the collection's config enables summaries; ``id`` is the collection's.

    Generations are raised by the gateway (a person asks) and by the reconciler (documents changed); claimed and
    settled by the indexer. ``documents_hash`` stands for the documents that ``summary`` was made of.
    """

    __tablename__ = "collection_summary"

    id: Mapped[str] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"), primary_key=True)
    owner: Mapped[str] = mapped_column(String(24))
    summary: Mapped[str | None] = mapped_column(Text)
    documents: Mapped[int | None] = mapped_column(Integer)
    documents_hash: Mapped[str | None] = mapped_column(String(64))
    collection_updated: Mapped[datetime | None]

    __table_args__ = (due_index("collection_summary"),)
