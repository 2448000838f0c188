"""Sessions: opened by a login, asked for with every cookie, revoked by a logout."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from aperag_api.identity.sessions import repository
from aperag_api.identity.sessions.tokens import SessionName, SessionTokens
from aperag_api.kernel.auth import Caller, Credential, CredentialKind, Role, Scope
from aperag_api.kernel.reading import reading
from aperag_common import ids

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.identity.accounts.repository import UserRow

AGENT_CHARACTERS = 512


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who asks, as far as that is seen before a login; ``address`` may be empty."""

    address: str
    user_agent: str


@dataclass(frozen=True, slots=True)
class SessionService:
    engine: AsyncEngine
    tokens: SessionTokens
    lifetime: timedelta

    async def open(self, conn: AsyncConnection, user: UserRow, visitor: Visitor) -> str | None:
        """The token of a new session; None where ``user`` is no longer as it was read."""
        session_id = ids.new_session_id()
        opened = await repository.insert(
            conn,
            session_id=session_id,
            user_id=user.id,
            password_hash=user.password_hash,
            ip_address=visitor.address or None,
            user_agent=visitor.user_agent.replace("\0", "")[:AGENT_CHARACTERS] or None,
            lifetime=self.lifetime,
        )
        if opened is None:
            return None
        name = SessionName(session_id, user.id)
        return self.tokens.sign(name, issued=opened.created, expires=opened.expires_at)

    async def caller_of(self, token: str) -> Caller | None:
        """One look-up; None for what was not signed here, has ended, or belongs to nobody any more."""
        name = self.tokens.read(token)
        if name is None:
            return None
        async with reading(self.engine) as conn:
            owner = await repository.find(conn, name.session_id, name.user_id)
        if owner is None:
            return None
        return Caller(
            user_id=owner.user_id,
            username=owner.username,
            role=Role(owner.role),
            credential=Credential(CredentialKind.SESSION, name.session_id),
            scope=Scope.ALL,
            collection_ids=None,
        )

    async def revoke(self, token: str) -> None:
        """Whatever is no token of ours is left as it is."""
        name = self.tokens.read(token)
        if name is None:
            return
        async with self.engine.begin() as conn:
            await repository.revoke(conn, name.session_id, name.user_id)
