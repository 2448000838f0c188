"""Searches a caller chose to keep."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Index, String, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class SearchHistory(Base):
    """Written and deleted by the gateway only."""

    __tablename__ = "search_history"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(String(24))
    collection_id: Mapped[str] = mapped_column(ForeignKey("collection.id", ondelete="CASCADE"))
    query: Mapped[str] = mapped_column(Text)
    request: Mapped[dict[str, Any]]
    items: Mapped[dict[str, Any]]
    created: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (Index("ix_search_history_collection", "collection_id", "owner", "created"),)
