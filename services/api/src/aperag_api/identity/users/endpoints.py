"""Routes of users (contract 1.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from aperag_api.identity.accounts.schemas import UserOut
from aperag_api.identity.services import Services
from aperag_api.identity.sessions.endpoints import meant
from aperag_api.identity.users.schemas import PasswordChange, Registered, Registration, UserDeleted, UserList
from aperag_api.kernel.auth import Admin, ScopedReader, Unlimited
from aperag_api.kernel.paging import Page, paged

router = APIRouter(tags=["users"])
dev_router = APIRouter(prefix="/test", tags=["development"])
"""Mounted only where the installation is one for development."""


@router.post("/register", dependencies=[Depends(meant)])
async def register(body: Registration, services: Services) -> Registered:
    """Makes a user; the answer holds their first API key, which is never shown again."""
    return await services.users.register(body)


@router.get("/user")
async def get_user(caller: ScopedReader, services: Services) -> UserOut:
    return await services.users.get(caller.user_id)


@router.get("/users")
async def list_users(caller: Unlimited, services: Services, page: Annotated[Page, paged(1000, most=1000)]) -> UserList:
    return await services.users.list(caller, page=page)


@router.post("/change-password")
async def change_password(body: PasswordChange, caller: Unlimited, services: Services) -> UserOut:
    """Ends the user's other sessions."""
    return await services.users.change_password(caller, body)


@router.delete("/users/{user_id}")
async def delete_user(user_id: str, caller: Admin, services: Services) -> UserDeleted:
    """Everything of the user goes too."""
    return await services.users.delete(caller, user_id)


@dev_router.post("/register_admin")
async def register_admin(body: Registration, services: Services) -> Registered:
    return await services.users.register_admin(body)
