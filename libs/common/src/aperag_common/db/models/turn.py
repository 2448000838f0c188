"""One question and its answer."""

from __future__ import annotations

from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import ForeignKey, Index, Integer, String, Text, UniqueConstraint, func, text
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import Base


class TurnOutcome(StrEnum):
    """How a turn that ran to its end ended; one whose job was given up has none."""

    ANSWERED = "answered"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Turn(Base):
    """Inserted by the gateway, ended by the agent; ``ordinal`` counts within the chat, from 0. Its job runs it.

    ``credential`` is what the agent shows the gateway while it works for the asker: minted by the gateway, valid while
    the turn's job is leased (ADR 0019). ``run`` counts the runs that were begun, also those that were given back and
    count as no attempt. ``message_id`` is the client's name for it. ``request`` is what was asked and with which model, collections and language; ``rights`` is
    what the caller's credential reaches: the agent acts with no more (see ``aperag_api.conversation.turns.credentials``). ``parts``
    are the stored messages, in order. A request to cancel stands in ``cancel_requested_at`` until the agent has ended it.
    """

    __tablename__ = "turn"

    id: Mapped[str] = mapped_column(String(24), primary_key=True)
    owner: Mapped[str] = mapped_column(ForeignKey("users.id", ondelete="CASCADE"), index=True)
    chat_id: Mapped[str] = mapped_column(ForeignKey("chat.id", ondelete="CASCADE"))
    bot_id: Mapped[str] = mapped_column(String(24))
    ordinal: Mapped[int] = mapped_column(Integer)
    message_id: Mapped[str] = mapped_column(String(64))
    request: Mapped[dict[str, Any]]
    rights: Mapped[dict[str, Any]]
    question: Mapped[str] = mapped_column(Text)
    answer: Mapped[str | None] = mapped_column(Text)
    parts: Mapped[list[dict[str, Any]]] = mapped_column(default=list, server_default=text("'[]'"))
    usage: Mapped[dict[str, Any] | None]
    outcome: Mapped[str | None] = mapped_column(String(12))
    cancel_requested_at: Mapped[datetime | None]
    trace_id: Mapped[str | None] = mapped_column(String(32))
    credential: Mapped[str] = mapped_column(String(32))
    run: Mapped[int] = mapped_column(Integer, default=0, server_default="0")
    feedback: Mapped[dict[str, Any] | None]
    created: Mapped[datetime] = mapped_column(server_default=func.now())

    __table_args__ = (
        UniqueConstraint("chat_id", "ordinal"),
        UniqueConstraint("chat_id", "message_id"),
        Index("ix_turn_trace", "trace_id", "owner"),
    )
