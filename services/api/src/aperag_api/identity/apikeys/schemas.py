"""API keys as clients see them."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import AwareDatetime, BaseModel, Field

from aperag_api.kernel.auth import Scope
from aperag_api.kernel.validation import RequestBody

Description = Annotated[str, Field(max_length=1000)]
CollectionId = Annotated[str, Field(min_length=1, max_length=24)]


class ApiKeyCreate(RequestBody):
    """Without limits a key may do what its owner may. What it may do is fixed when it is made.

    ``scope`` ``read``: read and search only. ``collection_ids``: own or subscribed collections, and nothing else.
    """

    NEVER_NULL = frozenset({"scope"})

    description: Description | None = None
    scope: Scope = Scope.ALL
    collection_ids: Annotated[list[CollectionId], Field(min_length=1, max_length=1000)] | None = None
    expires_at: AwareDatetime | None = None


class ApiKeyChange(RequestBody):
    description: Description | None = None


class ApiKeyView(BaseModel):
    """``key`` is whole only in the answer that made it, masked ever after."""

    id: str
    key: str
    description: str | None
    scope: Scope = Scope.ALL
    collection_ids: list[str] | None = None
    expires_at: datetime | None = None
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = None


class ApiKeyList(BaseModel):
    items: list[ApiKeyView]
