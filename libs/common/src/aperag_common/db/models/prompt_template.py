"""Templates of prompts that users or the installation changed."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, String, Text, UniqueConstraint, func
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class PromptTemplate(Base):
    """``user_id`` is NULL for the installation's own. Written by the gateway only."""

    __tablename__ = "prompt_template"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    user_id: Mapped[str | None] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"))
    type: Mapped[str] = mapped_column(String(24))
    content: Mapped[str] = mapped_column(Text)
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (UniqueConstraint("user_id", "type", postgresql_nulls_not_distinct=True),)
