"""Which user a person at a provider is: the one they were before, the one with their address, or a new one."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from aperag_api.identity.accounts import repository as users
from aperag_api.identity.accounts.admission import Admission, Newcomer, RegisterMode
from aperag_api.identity.accounts.names import LONGEST_NAME, name_key, name_of
from aperag_api.identity.events.record import SIGN_IN, record_user_changed
from aperag_api.identity.invitations.service import redeem_for
from aperag_api.identity.oauth import repository
from aperag_api.kernel.auth import Role
from aperag_common import ids
from aperag_work.change import Change

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.identity.accounts.repository import UserRow
    from aperag_api.identity.oauth.identities import Identity

NAMELESS = "user"
UNVERIFIED = (
    "A user has registered with this address, and nobody has verified that it is theirs: log in with the password, or ask"
    " an administrator to delete that user or to invite you"
)


@dataclass(frozen=True, slots=True)
class Accounts:
    admission: Admission
    mode: RegisterMode

    async def user_of(self, conn: AsyncConnection, provider: str, identity: Identity) -> tuple[UserRow, Change]:
        """In the caller's transaction, after which the change is to be delivered; two sign-ins of one person at once find
        the same user.
        """
        await repository.lock(conn, f"aperag.oauth:{provider}:{identity.subject}")
        known = await repository.user_of(conn, provider, identity.subject)
        if known is not None:
            return _active(await users.by_id(conn, known)), Change()
        user, change = await self._linked(conn, provider, identity)
        await repository.insert(
            conn,
            account_id=ids.new_oauth_account_id(),
            user_id=user.id,
            provider=provider,
            subject=identity.subject,
            email=identity.email,
        )
        return user, change

    async def _linked(self, conn: AsyncConnection, provider: str, identity: Identity) -> tuple[UserRow, Change]:
        """``identity.email`` is one that the provider has verified: its owner is the user who has it here.

        Unless nobody has verified it here: whoever registered with another person's address would share their account.
        """
        if identity.email is not None:
            await repository.lock(conn, f"aperag.oauth.email:{identity.email}")
            found = await users.by_email(conn, identity.email)
            if found is not None and not found.email_verified:
                raise HTTPException(403, UNVERIFIED)
            if found is not None:
                user = _active(found)
                return user, Change((), await record_user_changed(conn, user.id, SIGN_IN))
        role = await self._role(conn, identity)
        username = await _free_name(conn, identity.name)
        verified = identity.email is not None
        newcomer = Newcomer(username, role, identity.email, source=provider, email_verified=verified)
        made = await self.admission.admit(conn, newcomer)
        return made.user, made.change

    async def _role(self, conn: AsyncConnection, identity: Identity) -> Role:
        if await users.is_first(conn):
            return Role.ADMIN
        invitation = None if identity.email is None else await redeem_for(conn, identity.email)
        if invitation is not None:
            return Role(invitation.role)
        if self.mode is RegisterMode.INVITATION:
            raise HTTPException(403, "There is no invitation for this account: ask an administrator for one")
        return Role.RW


def _active(user: UserRow | None) -> UserRow:
    if user is None or not user.is_active:
        raise HTTPException(403, "This user is no longer active: ask an administrator")
    return user


async def _free_name(conn: AsyncConnection, wished: str) -> str:
    try:
        name = name_of(wished[:LONGEST_NAME])
    except ValueError:
        name = NAMELESS
    by_name, _ = await users.taken(conn, username=name, username_key=name_key(name), email=None)
    return f"{name[: LONGEST_NAME - 9]}-{secrets.token_hex(4)}" if by_name else name
