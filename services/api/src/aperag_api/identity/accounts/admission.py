"""How users come in: with all that everybody has from the start, in one transaction."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException

from aperag_api.identity.accounts import repository
from aperag_api.identity.accounts.names import look_of, name_key
from aperag_api.identity.apikeys.service import issue
from aperag_api.identity.events.record import record_key, record_user
from aperag_api.kernel.auth import Role
from aperag_common import ids
from aperag_common.events import accounts
from aperag_work.change import Change

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncConnection

    from aperag_api.identity.accounts.repository import UserRow
    from aperag_api.identity.apikeys.keys import KeyHasher

LOCAL = "local"
FIRST_KEY = "default"

Provide = Callable[["AsyncConnection", str], Awaitable[object]]
"""Gives the user of this id one thing that everybody has from the start; nothing where they have it."""


class RegisterMode(StrEnum):
    UNLIMITED = "unlimited"
    INVITATION = "invitation"


@dataclass(frozen=True, slots=True)
class Newcomer:
    """``source`` is ``local`` or the name of an OAuth provider; ``email_verified`` as the model ``User`` has it."""

    username: str
    role: Role
    email: str | None = None
    password_hash: str | None = None
    source: str = LOCAL
    email_verified: bool = False


@dataclass(frozen=True, slots=True)
class Admitted:
    """``api_key`` is whole here and nowhere else; ``change`` is to be delivered after the transaction."""

    user: UserRow
    api_key: str
    change: Change


@dataclass(frozen=True, slots=True)
class Admission:
    """How users come in. ``provided`` is what other parts of the gateway give everybody, in this order."""

    hasher: KeyHasher
    provided: Sequence[Provide]

    async def admit(self, conn: AsyncConnection, newcomer: Newcomer) -> Admitted:
        """Raises 400 where the name or the address is another user's.

        There is no system key beside the visible one: keys are stored as hashes only, so nobody could ever use it.
        """
        user = await repository.insert(
            conn,
            user_id=ids.new_user_id(),
            username=newcomer.username,
            username_key=name_key(newcomer.username),
            look=look_of(newcomer.username),
            email=newcomer.email,
            email_verified=newcomer.email_verified,
            role=newcomer.role,
            password_hash=newcomer.password_hash,
            source=newcomer.source,
        )
        if user is None:
            raise await refusal(conn, newcomer.username, newcomer.email)
        await self.provide(conn, user.id)
        told = await record_user(conn, accounts.UserCreated, user.id)
        made = await issue(conn, self.hasher, user.id, FIRST_KEY)
        key_told = await record_key(conn, accounts.KeyCreated, user.id, made.id)
        return Admitted(user, made.key, Change((), (*told, *key_told)))

    async def provide(self, conn: AsyncConnection, user_id: str) -> None:
        for give in self.provided:
            await give(conn, user_id)


async def refusal(conn: AsyncConnection, username: str | None, email: str | None) -> HTTPException:
    """Which of both is taken; after an insert that met another one."""
    key = name_key(username or "")
    by_name, by_email = await repository.taken(conn, username=username or "", username_key=key, email=email)
    if by_email and not by_name:
        return HTTPException(400, "Email already exists")
    return HTTPException(400, "Username already exists")
