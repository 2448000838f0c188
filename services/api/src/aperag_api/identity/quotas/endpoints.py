"""Routes of quotas (contract 1.13)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import Field

from aperag_api.identity.quotas.schemas import (
    DefaultQuotasIn,
    DefaultQuotasOut,
    DefaultQuotasUpdated,
    Limits,
    QuotasUpdated,
    Recalculated,
    UserQuotas,
    UserQuotasList,
)
from aperag_api.identity.services import Services
from aperag_api.kernel.auth import Admin, Reader
from aperag_api.kernel.validation import Unfilled

router = APIRouter(tags=["quotas"])

Exactly = Annotated[Annotated[str, Field(max_length=256)] | None, Unfilled, Query()]


@router.get("/quotas")
async def get_quotas(
    caller: Reader, services: Services, user_id: Exactly = None, search: Exactly = None
) -> UserQuotas | UserQuotasList:
    """One's own. An administrator names another user by id, or asks by an exact id, name or address."""
    return await services.quotas.show(caller, user_id, search)


@router.put("/quotas/{user_id}")
async def update_quotas(user_id: str, body: Limits, _: Admin, services: Services) -> QuotasUpdated:
    """Limits of one user's own; null gives the user back to the defaults."""
    return await services.quotas.update(user_id, body)


@router.post("/quotas/{user_id}/recalculate")
async def recalculate_quotas(user_id: str, _: Admin, services: Services) -> Recalculated:
    return await services.quotas.recalculate(user_id)


@router.get("/system/default-quotas")
async def get_default_quotas(_: Admin, services: Services) -> DefaultQuotasOut:
    return await services.quotas.defaults()


@router.put("/system/default-quotas")
async def update_default_quotas(body: DefaultQuotasIn, _: Admin, services: Services) -> DefaultQuotasUpdated:
    return await services.quotas.update_defaults(body.quotas)
