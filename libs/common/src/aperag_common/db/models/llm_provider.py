"""Providers of models, and the models that they offer."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import ForeignKey, Integer, String, Text, func, text
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.orm import Mapped, mapped_column

from aperag_common.db.models.base import ENCRYPTED, Base

PUBLIC = "public"
"""Stands as ``user_id`` of what belongs to the installation."""


class LlmProvider(Base):
    """Written by the gateway; ``paused_until`` also by whoever was told to wait (429), and read by all who call.

    ``user_id`` is its owner's, or ``public``: then administrators change it and everybody may use it.
    """

    __tablename__ = "llm_provider"

    name: Mapped[str] = mapped_column(String(128), primary_key=True)
    user_id: Mapped[str] = mapped_column(String(24), index=True)
    label: Mapped[str] = mapped_column(String(256))
    completion_dialect: Mapped[str] = mapped_column(String(64), default="openai")
    embedding_dialect: Mapped[str] = mapped_column(String(64), default="openai")
    rerank_dialect: Mapped[str] = mapped_column(String(64), default="jina_ai")
    allow_custom_base_url: Mapped[bool] = mapped_column(default=False)
    base_url: Mapped[str] = mapped_column(Text)
    extra: Mapped[str | None] = mapped_column(Text)
    api_key: Mapped[str | None] = mapped_column(Text, info=ENCRYPTED)
    paused_until: Mapped[datetime | None]
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())


class LlmModel(Base):
    """Written by the gateway. ``dimensions`` of an embedding model: learnt from its first answer, null before."""

    __tablename__ = "llm_model"

    provider_name: Mapped[str] = mapped_column(ForeignKey("llm_provider.name", ondelete="CASCADE"), primary_key=True)
    api: Mapped[str] = mapped_column(String(16), primary_key=True)
    model: Mapped[str] = mapped_column(String(256), primary_key=True)
    custom_llm_provider: Mapped[str] = mapped_column(String(128))
    context_window: Mapped[int | None] = mapped_column(Integer)
    max_input_tokens: Mapped[int | None] = mapped_column(Integer)
    max_output_tokens: Mapped[int | None] = mapped_column(Integer)
    dimensions: Mapped[int | None] = mapped_column(Integer)
    tags: Mapped[list[str]] = mapped_column(ARRAY(Text), server_default=text("'{}'"))
    created: Mapped[datetime] = mapped_column(server_default=func.now())
    updated: Mapped[datetime] = mapped_column(server_default=func.now())


class DefaultModel(Base):
    """What is used where nobody chose: one row per scenario that has a default. Written by the gateway."""

    __tablename__ = "default_model"

    scenario: Mapped[str] = mapped_column(String(48), primary_key=True)
    provider_name: Mapped[str] = mapped_column(ForeignKey("llm_provider.name", ondelete="CASCADE"))
    model: Mapped[str] = mapped_column(String(256))
    updated: Mapped[datetime] = mapped_column(server_default=func.now())


class ProviderSlot(Base):
    """One call that may be under way at a provider, shared by all processes; free once ``held_until`` is past.

    Made and taken by whoever calls. A process that dies leaves its slots to whoever comes when they end.
    """

    __tablename__ = "provider_slot"

    provider_name: Mapped[str] = mapped_column(ForeignKey("llm_provider.name", ondelete="CASCADE"), primary_key=True)
    slot: Mapped[int] = mapped_column(Integer, primary_key=True)
    token: Mapped[str | None] = mapped_column(String(32))
    held_until: Mapped[datetime | None]
