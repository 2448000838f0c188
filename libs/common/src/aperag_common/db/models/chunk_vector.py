"""The dense leg: one embedding per chunk and model."""

from __future__ import annotations

from pgvector.sqlalchemy import HALFVEC
from sqlalchemy import ForeignKey, Index, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base

USE_MODEL, E5_MODEL = "local/use-multilingual-v3", "local/multilingual-e5-small"
LOCAL_DIMENSIONS = {USE_MODEL: 512, E5_MODEL: 384}
"""Each built-in encoder has an index of its own; an index over vectors is of one length and one model."""
MOST_DIMENSIONS = 3584
"""A row that is stored plainly has to fit on a page."""


class ChunkVector(Base):
    """Written by the indexer's vector step; ``generation`` is that step's.

    The embedding is unit length, and as long as its model makes them. The column's storage is PLAIN (a migration sets
    it): a TOASTed vector makes an exact scan three times slower.
    """

    __tablename__ = "chunk_vector"

    chunk_id: Mapped[str] = mapped_column(ForeignKey("chunk.id", ondelete="CASCADE"), primary_key=True)
    model: Mapped[str] = mapped_column(String(400), primary_key=True)
    generation: Mapped[int] = mapped_column(Integer, primary_key=True)
    document_id: Mapped[str] = mapped_column(String(24))
    collection_id: Mapped[str] = mapped_column(String(24))
    text_hash: Mapped[str] = mapped_column(String(32))
    embedding: Mapped[object] = mapped_column(HALFVEC())

    __table_args__ = (
        Index("ix_chunk_vector_collection", "collection_id", "model"),
        Index("ix_chunk_vector_document", "document_id", "generation"),
        *(
            Index(
                name,
                text(f"(embedding::halfvec({LOCAL_DIMENSIONS[model]})) halfvec_cosine_ops"),
                postgresql_using="hnsw",
                postgresql_where=text(f"model = '{model}'"),
            )
            for name, model in (("ix_chunk_vector_hnsw", USE_MODEL), ("ix_chunk_vector_hnsw_e5", E5_MODEL))
        ),
    )
