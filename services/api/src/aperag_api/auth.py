"""Who is calling, and whether they may write."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

from fastapi import Depends, HTTPException, Request
from fastapi.security import HTTPBearer

from aperag_api.apikeys import repository
from aperag_api.reading import reading
from aperag_common import errors
from aperag_common.auth.keys import KeyHasher, is_api_key

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncEngine


class Role(StrEnum):
    """``ro`` reads and searches only."""

    ADMIN = "admin"
    RW = "rw"
    RO = "ro"


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user; every row that a request touches must be theirs."""

    user_id: str
    role: Role


@dataclass(frozen=True, slots=True)
class Authenticator:
    """Finds the caller of a key; ``last_used_at`` is written at first use, then every ``touched_every``."""

    engine: AsyncEngine
    hasher: KeyHasher
    touched_every: timedelta

    async def caller_of(self, key: str) -> Caller | None:
        if not is_api_key(key):
            return None
        async with reading(self.engine) as conn:
            found = await repository.find_by_hash(conn, self.hasher.hash(key), self.touched_every)
        if found is None:
            return None
        if found.untouched:
            async with self.engine.begin() as conn:
                await repository.touch(conn, found.id)
        return Caller(found.owner, Role(found.role))


_bearer = HTTPBearer(auto_error=False, description="an API key")


async def authenticated(request: Request, _: Annotated[object, Depends(_bearer)]) -> Caller:
    """Raises 401 in the contract's form."""
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    authenticator: Authenticator = request.app.state.gateway.authenticator
    caller = await authenticator.caller_of(key.strip()) if scheme.lower() == "bearer" else None
    if caller is None:
        raise HTTPException(401, "Unauthorized", headers={"WWW-Authenticate": "Bearer"})
    return caller


Reader = Annotated[Caller, Depends(authenticated)]


async def may_write(caller: Reader) -> Caller:
    if caller.role is Role.RO:
        message = "This user may read and search only"
        raise errors.Forbidden(message)
    return caller


Writer = Annotated[Caller, Depends(may_write)]


async def may_administer(caller: Reader) -> Caller:
    if caller.role is not Role.ADMIN:
        raise HTTPException(403, "Only an administrator may do this")
    return caller


Admin = Annotated[Caller, Depends(may_administer)]
