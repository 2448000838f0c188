"""Invitations to register, each for one person and one role."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import ENCRYPTED, Base


class Invitation(Base):
    """``token`` stands here encrypted (administrators read it again), ``token_hash`` finds it. Gateway only."""

    __tablename__ = "invitation"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    username: Mapped[str | None] = mapped_column(String(256))
    email: Mapped[str] = mapped_column(String(254), index=True)
    role: Mapped[str] = mapped_column(String(12))
    token: Mapped[str] = mapped_column(String(512), info=ENCRYPTED)
    token_hash: Mapped[str] = mapped_column(String(64), unique=True)
    created_by: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    expires_at: Mapped[datetime]
    used_at: Mapped[datetime | None]
