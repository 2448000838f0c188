"""API keys as clients see them."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel, ConfigDict, Field

from aperag_api.validation import RequestBody


class ApiKeyChange(RequestBody):
    description: str | None = Field(None, max_length=1000)


class ApiKeyView(BaseModel):
    """``key`` is whole only in the answer that made it, masked ever after."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    key: str
    description: str | None
    created_at: datetime
    updated_at: datetime
    last_used_at: datetime | None = None


class ApiKeyList(BaseModel):
    items: list[ApiKeyView]
