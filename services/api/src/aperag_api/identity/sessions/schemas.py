"""Logins as clients send them (contract 1.1)."""

from __future__ import annotations

from pydantic import BaseModel, Field

from aperag_api.identity.accounts.schemas import Password
from aperag_api.kernel.validation import RequestBody


class Login(RequestBody):
    username: str = Field(max_length=1024)
    password: Password


class LoggedOut(BaseModel):
    success: bool = True
