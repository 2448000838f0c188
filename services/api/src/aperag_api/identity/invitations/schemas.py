"""Invitations as clients see them (contract 1.1)."""

from __future__ import annotations

from datetime import datetime

from pydantic import BaseModel

from aperag_api.identity.accounts.names import Email, OptionalUsername
from aperag_api.kernel.auth import Role
from aperag_api.kernel.validation import RequestBody


class InvitationCreate(RequestBody):
    username: OptionalUsername = None
    email: Email
    role: Role


class InvitationOut(BaseModel):
    """``is_valid``: it is neither used nor expired."""

    email: str
    username: str | None
    token: str
    role: Role
    created_by: str
    created_at: datetime
    expires_at: datetime
    used_at: datetime | None
    is_valid: bool


class InvitationList(BaseModel):
    items: list[InvitationOut]
