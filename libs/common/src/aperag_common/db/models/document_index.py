"""What searches see of a document: one row for its parse and one for each of its indexes that serves something."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ForeignKey, Integer, String, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class DocumentIndex(Base):
    """Written by the indexer in the transaction that completes a job; ``kind`` is a ``StepKind``.

    ``served_generation`` is the generation of the job whose rows searches see (of ``parse``: whose chunks the builds
    read); it stays behind while a newer generation is built. ``data`` says what those rows were made from and with.
    """

    __tablename__ = "document_index"

    document_id: Mapped[str] = mapped_column(ForeignKey("document.id", ondelete="CASCADE"), primary_key=True)
    kind: Mapped[str] = mapped_column(String(12), primary_key=True)
    served_generation: Mapped[int] = mapped_column(Integer)
    data: Mapped[dict[str, Any]] = mapped_column(default=dict, server_default=text("'{}'"))
