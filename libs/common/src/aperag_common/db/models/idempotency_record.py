"""Answers kept for clients that repeat a request under the same Idempotency-Key."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, Integer, LargeBinary, String, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class IdempotencyRecord(Base):
    """``fingerprint`` stands for method, path and body. ``status_code`` is NULL while the first request runs.

    Written by the gateway; rows older than a day are removed by the reconciler.
    """

    __tablename__ = "idempotency_record"

    user_id: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), primary_key=True)
    key: Mapped[str] = mapped_column(String(255), primary_key=True)
    fingerprint: Mapped[str] = mapped_column(String(64))
    locked_until: Mapped[datetime | None]
    status_code: Mapped[int | None] = mapped_column(Integer)
    headers: Mapped[dict[str, Any] | None]
    body: Mapped[bytes | None] = mapped_column(LargeBinary)
    created: Mapped[datetime] = mapped_column(server_default=func.now(), index=True)
