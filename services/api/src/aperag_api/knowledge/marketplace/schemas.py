"""Published collections as others see them (contract 1.14)."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from aperag_api.knowledge.collections.schemas import SharedConfig


class SharedCollection(BaseModel):
    """``subscription_id`` and ``gmt_subscribed`` are the caller's own."""

    id: str
    title: str
    description: str
    owner_user_id: str
    owner_username: str
    subscription_id: str | None = None
    gmt_subscribed: datetime | None = None
    subscription_count: int
    config: SharedConfig


class SharedCollectionList(BaseModel):
    items: list[SharedCollection]
    total: int
    page: int
    page_size: int


class Unsubscribed(BaseModel):
    message: str
