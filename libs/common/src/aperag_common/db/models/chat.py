"""Chats: the turns that a person and a bot take with each other."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Index, String, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class Chat(Base):
    """Written by the gateway; the reconciler removes those nobody has used for long. A deleted chat is gone, with its turns: whoever runs one of them is fenced off.

    ``peer_id`` says what a chat is for that no person opened; a bot has one of each.
    """

    __tablename__ = "chat"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    bot_id: Mapped[str] = mapped_column(ForeignKey("bot.id", ondelete="CASCADE"))
    title: Mapped[str] = mapped_column(String(256))
    peer_type: Mapped[str] = mapped_column(String(24), default="system")
    peer_id: Mapped[str | None] = mapped_column(String(256))
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        Index("ix_chat_bot_created", "bot_id", "created"),
        Index("uq_chat_peer", "bot_id", "peer_id", unique=True, postgresql_where=text("peer_id IS NOT NULL")),
    )
