"""Users as clients see them (contract 1.1)."""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, Field

from aperag_api.identity.accounts.names import OptionalEmail, OptionalUsername
from aperag_api.identity.accounts.schemas import Password, UserOut
from aperag_api.kernel.validation import RequestBody, Unfilled


class Registration(RequestBody):
    """``token`` is an invitation's, which also gives the e-mail address and the role."""

    token: Annotated[Annotated[str, Field(max_length=256)] | None, Unfilled] = None
    email: OptionalEmail = None
    username: OptionalUsername = None
    password: Password | None = None


class PasswordChange(RequestBody):
    username: str = Field(max_length=1024)
    old_password: Password
    new_password: Password


class Registered(UserOut):
    """``api_key`` is the user's first key, whole: the only moment at which it is known."""

    api_key: str


class UserList(BaseModel):
    items: list[UserOut]


class UserDeleted(BaseModel):
    message: str
