"""Collections as agents see them."""

from __future__ import annotations

from pydantic import BaseModel, Field

from aperag_mcp.answers import Answer


class PageResult(Answer):
    page_number: int | None = None
    page_size: int | None = None
    count: int | None = None


class Collection(Answer):
    """``id`` is what other tools ask for."""

    id: str
    title: str | None = None
    description: str | None = None
    type: str | None = None
    status: str | None = None
    created: str | None = None
    updated: str | None = None
    is_published: bool | None = None
    published_at: str | None = None
    owner_user_id: str | None = None
    owner_username: str | None = None
    subscription_id: str | None = None
    subscribed_at: str | None = None


class CollectionList(BaseModel):
    items: list[Collection]
    pageResult: PageResult | None = None  # noqa: N815  the contract's name
    notes: list[str] = Field([], description="What was left out or shortened.")
