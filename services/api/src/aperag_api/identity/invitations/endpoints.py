"""Routes of invitations (contract 1.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter

from aperag_api.identity.invitations.schemas import InvitationCreate, InvitationList, InvitationOut
from aperag_api.identity.services import Services
from aperag_api.kernel.auth import Appointer, Unlimited
from aperag_api.kernel.paging import Page, paged

router = APIRouter(tags=["users"])


@router.post("/invite")
async def invite(body: InvitationCreate, caller: Appointer, services: Services) -> InvitationOut:
    return await services.invitations.invite(caller, body)


@router.get("/invitations")
async def list_invitations(
    caller: Unlimited, services: Services, page: Annotated[Page, paged(1000, most=1000)]
) -> InvitationList:
    return await services.invitations.list(caller, page=page)
