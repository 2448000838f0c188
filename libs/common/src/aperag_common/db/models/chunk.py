"""The pieces of a parsed document that searches return."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class Chunk(Base):
    """Written by the indexer's parse; ``generation`` is the parse generation that produced it.

    Old generations stay until no index row points at them, so that searches go on while a document is rebuilt.
    ``details`` holds ``titles`` (list of str, heading path), ``page_idx`` (int, from 0) where the parser knows them.
    """

    __tablename__ = "chunk"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"))
    collection_id: Mapped[str] = mapped_column(String(24))
    generation: Mapped[int] = mapped_column(Integer)
    ordinal: Mapped[int] = mapped_column(Integer)
    text: Mapped[str] = mapped_column(Text)
    text_hash: Mapped[str] = mapped_column(String(32))
    details: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (Index("ix_chunk_document", "document_id", "generation", "ordinal"),)
