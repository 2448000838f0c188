"""The dense leg: one embedding per chunk and model."""

from __future__ import annotations

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base

DIMENSIONS = 512


class ChunkVector(Base):
    """Written by the indexer's vector step; ``generation`` is that step's.

    The embedding is unit length. The column's storage is PLAIN (a migration sets it): a TOASTed vector makes
    an exact scan three times slower.
    """

    __tablename__ = "chunk_vector"

    chunk_id: Mapped[str] = mapped_column(ForeignKey("chunk.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(String(400), primary_key=True)
    generation: Mapped[int] = mapped_column(Integer, primary_key=True)
    document_id: Mapped[str] = mapped_column(String(24))
    collection_id: Mapped[str] = mapped_column(String(24))
    text_hash: Mapped[str] = mapped_column(String(32))
    embedding: Mapped[object] = mapped_column(HALFVEC(DIMENSIONS))

    __table_args__ = (
        Index("ix_chunk_vector_collection", "collection_id", "model"),
        Index("ix_chunk_vector_document", "document_id", "generation"),
        Index(
            "ix_chunk_vector_hnsw",
            "embedding",
            postgresql_using="hnsw",
            postgresql_ops={"embedding": "halfvec_cosine_ops"},
        ),
    )
