"""One step of a document's way to being searchable: its parse, or one of its indexes."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, UniqueConstraint, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import OPEN_SQL, Base, DrivenMixin, due_index


class StepKind(StrEnum):
    """``parse`` feeds the others; graph, summary and vision get no row until a worker builds them."""

    PARSE = "parse"
    VECTOR = "vector"
    FULLTEXT = "fulltext"
    GRAPH = "graph"
    SUMMARY = "summary"
    VISION = "vision"


class DocumentStep(DrivenMixin, Base):
    """Generations are raised by the gateway, released and re-driven by the reconciler, claimed and settled by the indexer.

    The reconciler raises them too, where a collection changes its embedding model.

    ``served_generation`` is the generation whose rows searches see (for ``parse``: whose chunks the builds read);
    it stays behind while a newer generation is being built. ``workflow_id`` is the change that wants ``generation``.
    """

    __tablename__ = "document_step"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    document_id: Mapped[str] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"))
    collection_id: Mapped[str] = mapped_column(String(24))
    owner: Mapped[str] = mapped_column(String(24))
    kind: Mapped[str] = mapped_column(String(12))
    served_generation: Mapped[int | None] = mapped_column(Integer)
    workflow_id: Mapped[str] = mapped_column(String(24))
    data: Mapped[dict[str, Any]] = mapped_column(default=dict)

    __table_args__ = (
        UniqueConstraint("document_id", "kind"),
        due_index("document_step"),
        Index(
            "ix_document_step_waiting",
            "owner",
            text("lane DESC"),
            "created",
            postgresql_where=text(f"status IN {OPEN_SQL} AND dispatch = 0 AND due_at < 'infinity'"),
        ),
        Index(
            "ix_document_step_released",
            "owner",
            postgresql_where=text(f"status IN {OPEN_SQL} AND dispatch > 0"),
        ),
        Index("ix_document_step_failed", "kind", postgresql_where=text("status = 'FAILED'")),
    )
