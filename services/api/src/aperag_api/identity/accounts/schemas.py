"""What users, logins and providers show and take alike (contract 1.1)."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from aperag_api.kernel.auth import Role

Password = Annotated[str, Field(max_length=2048)]
"""How long a password may be is a setting; this only bounds what is looked at."""


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
