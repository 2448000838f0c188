"""From a name and a password to a session."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from aperag_api.identity.accounts import repository as users
from aperag_api.identity.accounts.names import name_key
from aperag_api.kernel.reading import reading

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

    from aperag_api.identity.accounts.passwords import Passwords
    from aperag_api.identity.accounts.repository import UserRow
    from aperag_api.identity.sessions.service import SessionService, Visitor
    from aperag_api.identity.sessions.throttle import Throttle

LOGIN = "login"


@dataclass(frozen=True, slots=True)
class LoggedIn:
    user: UserRow
    token: str


@dataclass(frozen=True, slots=True)
class Logins:
    """Whoever fails learns nothing of why: not whether the name exists, nor whether the user is active."""

    engine: AsyncEngine
    sessions: SessionService
    passwords: Passwords
    throttle: Throttle

    async def login(self, username: str, password: str, visitor: Visitor) -> LoggedIn:
        key = name_key(username)
        async with self.throttle.attempt(LOGIN, key, visitor.address) as attempt:
            async with reading(self.engine) as conn:
                user = await users.by_key(conn, key)
            verdict = await self.passwords.verify(password, None if user is None else user.password_hash)
            token = None
            if user is not None and verdict.right:
                token = await self._open(user, verdict.renewed, visitor)
            attempt.right = token is not None
        if user is None or token is None:
            raise HTTPException(400, "Invalid credentials")
        return LoggedIn(user, token)

    async def _open(self, user: UserRow, renewed: str | None, visitor: Visitor) -> str | None:
        """None where the user was deleted, or got another password, since it was read."""
        async with self.engine.begin() as conn:
            if renewed is not None and await users.set_password(conn, user.id, old=user.password_hash, new=renewed):
                user = replace(user, password_hash=renewed)
            return await self.sessions.open(conn, user, visitor)
