"""Registering, changing one's password, and what administrators do with users."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from aperag_api.identity.accounts import repository
from aperag_api.identity.accounts.admission import Admission, Newcomer, RegisterMode
from aperag_api.identity.accounts.names import name_key
from aperag_api.identity.accounts.schemas import UserOut
from aperag_api.identity.apikeys import ending
from aperag_api.identity.events.record import record_user
from aperag_api.identity.invitations.service import redeem
from aperag_api.identity.sessions import repository as sessions
from aperag_api.identity.users.schemas import Registered, UserDeleted, UserList
from aperag_api.kernel.auth import CredentialKind, Role
from aperag_api.kernel.reading import reading
from aperag_common.events import accounts
from aperag_work.change import Change
from aperag_work.changes import purge_user

if TYPE_CHECKING:
    from datetime import timedelta

    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

    from aperag_api.identity.accounts.admission import Admitted
    from aperag_api.identity.accounts.passwords import Passwords
    from aperag_api.identity.accounts.repository import UserRow
    from aperag_api.identity.sessions.throttle import Throttle
    from aperag_api.identity.users.schemas import PasswordChange, Registration
    from aperag_api.kernel.auth import Caller
    from aperag_api.kernel.paging import Page
    from aperag_work.dispatcher import Dispatcher

CHANGE = "change-password"


@dataclass(frozen=True, slots=True)
class UserService:
    engine: AsyncEngine
    dispatcher: Dispatcher
    admission: Admission
    passwords: Passwords
    throttle: Throttle
    mode: RegisterMode
    first_due: timedelta

    async def register(self, body: Registration) -> Registered:
        """The first user is an administrator; others are what their invitation says, or may read and write."""
        self._check_new(body.password, body.username)
        encoded = await self.passwords.hash(body.password or "")
        async with self.engine.begin() as conn:
            role, username, invited = await self._role(conn, body)
            if username is None:
                raise HTTPException(400, "Username is required")
            newcomer = Newcomer(username, role, body.email, encoded, email_verified=invited)
            made = await self.admission.admit(conn, newcomer)
        return self._registered(made)

    async def register_admin(self, body: Registration) -> Registered:
        """For development only."""
        self._check_new(body.password, body.username)
        if body.username is None:
            raise HTTPException(400, "Username is required")
        encoded = await self.passwords.hash(body.password or "")
        async with self.engine.begin() as conn:
            made = await self.admission.admit(conn, Newcomer(body.username, Role.ADMIN, body.email, encoded))
        return self._registered(made)

    async def get(self, user_id: str) -> UserOut:
        return UserOut.model_validate(await self._user(user_id))

    async def list(self, caller: Caller, *, page: Page) -> UserList:
        """All for an administrator; everybody else sees themselves."""
        only = None if caller.role is Role.ADMIN else caller.user_id
        async with reading(self.engine) as conn:
            rows = await repository.list_users(conn, only=only, page=page)
        return UserList(items=[UserOut.model_validate(row) for row in rows])

    async def change_password(self, caller: Caller, body: PasswordChange) -> UserOut:
        """Ends the user's other sessions; keys go on working until they are revoked."""
        user = await self._user(caller.user_id)
        if name_key(body.username) != name_key(user.username):
            raise HTTPException(403, "A password is changed by its own user: log in as that user")
        if user.password_hash is None:
            raise HTTPException(400, "This user has no password: it signs in by a provider")
        self._check_new(body.new_password, user.username)
        async with self.throttle.attempt(CHANGE, user.id) as attempt:
            attempt.right = (await self.passwords.verify(body.old_password, user.password_hash)).right
        if not attempt.right:
            raise HTTPException(400, "The current password is wrong")
        encoded = await self.passwords.hash(body.new_password)
        kept = caller.credential.id if caller.credential.kind is CredentialKind.SESSION else None
        async with self.engine.begin() as conn:
            if not await repository.set_password(conn, user.id, old=user.password_hash, new=encoded):
                raise HTTPException(400, "The current password is wrong")
            await sessions.revoke_all(conn, user.id, but=kept)
            told = await record_user(conn, accounts.UserPasswordChanged, user.id)
        self.dispatcher.deliver(Change((), told))
        return UserOut.model_validate(user)

    async def delete(self, caller: Caller, user_id: str) -> UserDeleted:
        """From the answer on no session and no key of the user works; the reconciler removes what they own."""
        if user_id == caller.user_id:
            raise HTTPException(400, "Nobody deletes themselves: ask another administrator")
        async with self.engine.begin() as conn:
            if await repository.lock_admins(conn) == {user_id}:
                raise HTTPException(400, "This is the last administrator: make another one first")
            if not await repository.mark_deleted(conn, user_id):
                raise HTTPException(404, "User not found")
            await sessions.revoke_all(conn, user_id)
            told = await record_user(conn, accounts.UserDeleted, user_id)
            ended = await ending.of_user(conn, user_id)
            change = await purge_user(conn, user_id, first_due=self.first_due)
        self.dispatcher.deliver(change, ended, Change((), told))
        return UserDeleted(message="The user is deleted; what they own is being removed")

    async def _role(self, conn: AsyncConnection, body: Registration) -> tuple[Role, str | None, bool]:
        """Role and name of who registers, and whether by an invitation that was sent to the address."""
        if await repository.is_first(conn):
            return Role.ADMIN, body.username, False
        if body.token is None and self.mode is RegisterMode.UNLIMITED:
            return Role.RW, body.username, False
        if not body.token:
            raise HTTPException(400, "An invitation token is required")
        if body.email is None:
            raise HTTPException(400, "An email address is required: that of the invitation")
        invitation = await redeem(conn, body.token, body.email)
        return Role(invitation.role), body.username or invitation.username, True

    async def _user(self, user_id: str) -> UserRow:
        async with reading(self.engine) as conn:
            user = await repository.by_id(conn, user_id)
        if user is None:
            raise HTTPException(404, "User not found")
        return user

    def _check_new(self, password: str | None, username: str | None) -> None:
        if not password:
            raise HTTPException(400, "A password is required")
        if (problem := self.passwords.problem(password, username)) is not None:
            raise HTTPException(400, problem)

    def _registered(self, made: Admitted) -> Registered:
        self.dispatcher.deliver(made.change)
        return Registered(**UserOut.model_validate(made.user).model_dump(), api_key=made.api_key)
