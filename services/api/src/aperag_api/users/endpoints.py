"""Routes of users (contract 1.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, Query

from aperag_api.auth import Admin, ScopedReader, Unlimited
from aperag_api.gateway import Services
from aperag_api.sessions.endpoints import meant
from aperag_api.users.schemas import PasswordChange, Registered, Registration, UserDeleted, UserList, UserOut

router = APIRouter(tags=["users"])
dev_router = APIRouter(prefix="/test", tags=["development"])
"""Mounted only where the installation is one for development."""


@router.post("/register", dependencies=[Depends(meant)])
async def register(body: Registration, services: Services) -> Registered:
    """Makes a user; the answer holds their first API key, which is never shown again."""
    return await services.identity.users.register(body)


@router.get("/user")
async def get_user(caller: ScopedReader, services: Services) -> UserOut:
    return await services.identity.users.get(caller.user_id)


@router.get("/users")
async def list_users(
    caller: Unlimited,
    services: Services,
    page: Annotated[int, Query(ge=1, le=1_000_000)] = 1,
    page_size: Annotated[int, Query(ge=1, le=1000)] = 1000,
) -> UserList:
    return await services.identity.users.list(caller, page=page, page_size=page_size)


@router.post("/change-password")
async def change_password(body: PasswordChange, caller: Unlimited, services: Services) -> UserOut:
    """Ends the user's other sessions."""
    return await services.identity.users.change_password(caller, body)


@router.delete("/users/{user_id}")
async def delete_user(user_id: str, caller: Admin, services: Services) -> UserDeleted:
    """Everything of the user goes too."""
    return await services.identity.users.delete(caller, user_id)


@dev_router.post("/register_admin")
async def register_admin(body: Registration, services: Services) -> Registered:
    return await services.identity.users.register_admin(body)
