"""Providers as clients see them (contract 1.10)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal

from pydantic import BaseModel, Field

from aperag_api.kernel.validation import RequestBody, Unfilled

Name = Annotated[str, Field(min_length=1, max_length=128, pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]*$")]
"""No slash: a model's id is the provider's name, a slash, and the model's name."""
Label = Annotated[str, Field(min_length=1, max_length=256)]
Dialect = Annotated[str, Field(min_length=1, max_length=64)]
Url = Annotated[str, Field(min_length=1, max_length=2048)]
Key = Annotated[str, Field(max_length=4096)]
Status = Literal["enable", "disable"]


class ProviderChange(RequestBody):
    """What is absent stays; a key that is blank, or sent back masked, does too. ``disable`` forgets the key.

    Where ``base_url`` names another origin, the key has to be sent again.
    """

    label: Label | None = None
    completion_dialect: Dialect | None = None
    embedding_dialect: Dialect | None = None
    rerank_dialect: Dialect | None = None
    allow_custom_base_url: bool | None = None
    base_url: Url | None = None
    extra: Annotated[str, Field(max_length=100_000)] | None = None
    api_key: Key | None = None
    status: Status | None = None


class ProviderCreate(ProviderChange):
    """Without a name it is given one."""

    name: Annotated[Name | None, Unfilled] = None
    label: Label
    base_url: Url


class ProviderOut(BaseModel):
    """``user_id`` is the owner's, or ``public``; ``api_key`` is masked; ``disable``: it has none, so nobody uses it."""

    name: str
    user_id: str
    label: str
    completion_dialect: str
    embedding_dialect: str
    rerank_dialect: str
    allow_custom_base_url: bool
    base_url: str
    extra: str | None
    api_key: str | None
    status: Status
    created: datetime
    updated: datetime


class ProviderList(BaseModel):
    items: list[ProviderOut]
