"""The lexical leg: BM25 term weights of one chunk as a sparse vector."""

from __future__ import annotations

from pgvector.sqlalchemy import SPARSEVEC
from sqlalchemy import ForeignKey, Index, Integer, String
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base

TERM_SPACE = 1_000_000_000
"""pgvector's largest sparse dimension is 10^9; term ids are hashes into 1..TERM_SPACE."""


class ChunkTerm(Base):
    """Written by the indexer's fulltext step; ``generation`` is that step's, ``length`` counts analysed terms.

    ``terms`` repeats the sparse vector's indices (zero-based, as int4) for a GIN pre-selection by rare terms.
    The table's ``toast_tuple_target`` is 8160 (a migration sets it): rows of TOASTed weights, which full chunks
    would have, make a scan five times slower.
    """

    __tablename__ = "chunk_term"

    chunk_id: Mapped[str] = mapped_column(ForeignKey("chunk.id", ondelete="CASCADE"), primary_key=True)
    generation: Mapped[int] = mapped_column(Integer, primary_key=True)
    document_id: Mapped[str] = mapped_column(String(24))
    collection_id: Mapped[str] = mapped_column(String(24))
    length: Mapped[int] = mapped_column(Integer)
    terms: Mapped[list[int]] = mapped_column(ARRAY(Integer))
    weights: Mapped[object] = mapped_column(SPARSEVEC(TERM_SPACE))

    __table_args__ = (
        Index("ix_chunk_term_collection", "collection_id", postgresql_include=["length"]),
        Index("ix_chunk_term_document", "document_id", "generation"),
        Index("ix_chunk_term_terms", "terms", postgresql_using="gin"),
    )
