"""Users as clients see them (contract 1.1)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aperag_api.auth import Role
from aperag_api.users.names import OptionalEmail, OptionalUsername
from aperag_api.validation import RequestBody

Password = Annotated[str, Field(max_length=2048)]
"""How long a password may be is a setting; this only bounds what is looked at."""


class Registration(RequestBody):
    """``token`` is an invitation's, which also gives the e-mail address and the role."""

    token: str | None = Field(None, max_length=256)
    email: OptionalEmail = None
    username: OptionalUsername = None
    password: Password | None = None


class PasswordChange(RequestBody):
    username: str = Field(max_length=1024)
    old_password: Password
    new_password: Password


class UserOut(BaseModel):
    """``registration_source`` is ``local`` or the name of the provider that the user first signed in with."""

    model_config = ConfigDict(from_attributes=True)

    id: str
    username: str
    email: str | None
    role: Role
    is_active: bool
    date_joined: datetime
    registration_source: str


class Registered(UserOut):
    """``api_key`` is the user's first key, whole: the only moment at which it is known."""

    api_key: str


class UserList(BaseModel):
    items: list[UserOut]


class UserDeleted(BaseModel):
    message: str
