"""Routes of invitations (contract 1.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query

from aperag_api.auth import Appointer, Unlimited
from aperag_api.gateway import Services
from aperag_api.invitations.schemas import InvitationCreate, InvitationList, InvitationOut

router = APIRouter(tags=["users"])


@router.post("/invite")
async def invite(body: InvitationCreate, caller: Appointer, services: Services) -> InvitationOut:
    return await services.identity.invitations.invite(caller, body)


@router.get("/invitations")
async def list_invitations(
    caller: Unlimited,
    services: Services,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> InvitationList:
    return await services.identity.invitations.list(caller, page=page, page_size=page_size)
