"""Quotas as clients see them (contract 1.13)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aperag_api.kernel.validation import RequestBody
from aperag_common.db.models import QuotaType

Limit = Annotated[int, Field(ge=0, le=10**12)]


class Quota(BaseModel):
    """``current_usage`` of documents per collection is that of the fullest collection."""

    quota_type: QuotaType
    quota_limit: int
    current_usage: int
    remaining: int


class UserQuotas(BaseModel):
    user_id: str
    username: str
    email: str | None
    role: str
    quotas: list[Quota]


class UserQuotasList(BaseModel):
    items: list[UserQuotas]


class Limits(RequestBody):
    """The four limits; those that are not named stay as they are."""

    model_config = ConfigDict(extra="forbid")

    max_collection_count: Limit | None = None
    max_document_count: Limit | None = None
    max_document_count_per_collection: Limit | None = None
    max_bot_count: Limit | None = None

    def named(self) -> dict[QuotaType, int | None]:
        """Null is named too: it gives a user back to the defaults."""
        return {
            QuotaType(name): getattr(self, name) for name in type(self).model_fields if name in self.model_fields_set
        }


class UpdatedQuota(BaseModel):
    """The limits that held before and hold now."""

    quota_type: QuotaType
    old_limit: int
    new_limit: int


class QuotasUpdated(BaseModel):
    success: bool = True
    message: str
    user_id: str
    updated_quotas: list[UpdatedQuota]


class Recalculated(BaseModel):
    success: bool = True
    message: str
    updated_usage: dict[QuotaType, int]


class DefaultQuotas(BaseModel):
    max_collection_count: int
    max_document_count: int
    max_document_count_per_collection: int
    max_bot_count: int


class DefaultQuotasOut(BaseModel):
    quotas: DefaultQuotas


class DefaultQuotasIn(RequestBody):
    model_config = ConfigDict(extra="forbid")

    quotas: Limits


class DefaultQuotasUpdated(DefaultQuotasOut):
    success: bool = True
    message: str
