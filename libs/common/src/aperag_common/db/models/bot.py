"""Bots: who answers in a chat, and how."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import ForeignKey, String, Text, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class Bot(Base):
    """Every user has one from the start. Written by the gateway only.

    ``config_text`` is the string that ``config`` was posted as, where it was: answers give back the form they got.
    ``provided``: it came with its owner, and counts for no quota. ``flow`` is what knowledge and common bots do with a question (``aperag_common.flows``).
    """

    __tablename__ = "bot"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    title: Mapped[str] = mapped_column(String(256))
    description: Mapped[str] = mapped_column(Text, default="")
    type: Mapped[str] = mapped_column(String(16))
    config: Mapped[dict[str, Any]]
    config_text: Mapped[str | None] = mapped_column(Text)
    flow: Mapped[dict[str, Any] | None]
    provided: Mapped[bool] = mapped_column(server_default=text("false"))
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())
    deleted_at: Mapped[datetime | None]
