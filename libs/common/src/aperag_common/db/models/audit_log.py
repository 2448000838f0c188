"""Who changed what: one row per mutating call."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import BigInteger, Index, Integer, String, Text, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class AuditLog(Base):
    """Written by the gateway, never changed; old rows are removed by the reconciler.

    No foreign key: what a deleted user did stays known. Times are Unix milliseconds, as the contract has them.
    """

    __tablename__ = "audit_log"

    id: Mapped[str] = mapped_column(String(36), primary_key=True)
    user_id: Mapped[str | None] = mapped_column(String(24))
    username: Mapped[str | None] = mapped_column(String(256))
    resource_type: Mapped[str | None] = mapped_column(String(48))
    resource_id: Mapped[str | None] = mapped_column(String(255))
    api_name: Mapped[str] = mapped_column(String(96))
    http_method: Mapped[str] = mapped_column(String(8))
    path: Mapped[str] = mapped_column(String(1024))
    status_code: Mapped[int | None] = mapped_column(Integer)
    start_time: Mapped[int] = mapped_column(BigInteger)
    end_time: Mapped[int | None] = mapped_column(BigInteger)
    request_data: Mapped[dict[str, Any] | None]
    response_data: Mapped[dict[str, Any] | None]
    error_message: Mapped[str | None] = mapped_column(Text)
    ip_address: Mapped[str | None] = mapped_column(String(45))
    user_agent: Mapped[str | None] = mapped_column(String(512))
    request_id: Mapped[str] = mapped_column(String(64))
    created: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_audit_log_created", "created"),
        Index("ix_audit_log_user_created", "user_id", "created"),
        Index("ix_audit_log_resource", "resource_type", "resource_id"),
    )
