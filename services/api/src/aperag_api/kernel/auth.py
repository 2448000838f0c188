"""Who is calling, what their credential leaves of their rights, and which routes are open to them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated, Protocol

from fastapi import Depends, HTTPException, Request
from fastapi.security import APIKeyCookie, HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from aperag_common import errors
from aperag_common.http.front import ELSEWHERE

if TYPE_CHECKING:
    from collections.abc import Sequence

    from aperag_common.http.front import Front

COOKIE = "session"
"""Of a person who is logged in."""

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing, so it does not matter which site's page sent them."""


class Role(StrEnum):
    """``ro`` reads and searches only."""

    ADMIN = "admin"
    RW = "rw"
    RO = "ro"


class CredentialKind(StrEnum):
    SESSION = "session"
    API_KEY = "api_key"
    TURN = "turn"


class Scope(StrEnum):
    """``read``: no more than a user with the role ``ro`` may."""

    ALL = "all"
    READ = "read"


@dataclass(frozen=True, slots=True)
class Credential:
    """What a caller showed: ``id`` is that of the session, key or turn; ``expires``: a key that was made to end."""

    kind: CredentialKind
    id: str
    expires: bool = False


@dataclass(frozen=True, slots=True)
class Caller:
    """An authenticated user; every row that a request touches must be theirs.

    ``role`` is what counts here, and may be less than the user's own: ``effective_role``. ``collection_ids``, where
    there are any, are the only collections that the credential reaches; ``chat_id`` is that of a turn.
    """

    user_id: str
    username: str
    role: Role
    credential: Credential
    scope: Scope = Scope.ALL
    collection_ids: frozenset[str] | None = None
    chat_id: str | None = None

    @property
    def limited(self) -> bool:
        """Whether the credential may do less than its user, or for less long."""
        return self.scope is not Scope.ALL or self.collection_ids is not None or self.credential.expires

    @property
    def reach(self) -> list[str] | None:
        """The only collections that are there for the caller; None: all of the user's."""
        return None if self.collection_ids is None else sorted(self.collection_ids)


def effective_role(role: Role, scope: Scope, *, some_collections: bool) -> Role:
    """What is left of a user's role for a key: nothing that any code looks for in a role is found in a lesser key."""
    if scope is not Scope.ALL:
        return Role.RO
    return Role.RW if some_collections and role is Role.ADMIN else role


class Credentials(Protocol):
    """Credentials of one kind: sessions, API keys, turns."""

    async def caller_of(self, credential: str) -> Caller | None:
        """None for one of another kind, and for one that is not, or no longer, valid."""
        ...


@dataclass(frozen=True, slots=True)
class Authentication:
    """How this application knows its callers. ``origins``: those besides our own whose pages may use a person's cookie."""

    sessions: Credentials
    bearers: Sequence[Credentials]
    front: Front
    origins: frozenset[str]


async def caller_of(request: Request) -> Caller | None:
    """By the session's cookie, else by the key; looked up once per request, and None where neither is valid."""
    if not hasattr(request.state, "caller"):
        request.state.caller = await find_caller(request)
    caller: Caller | None = request.state.caller
    return caller


async def find_caller(request: HTTPConnection) -> Caller | None:
    """Looks anew; raises 403 where another site's page sent a person's cookie.

    A WebSocket changes things whatever its method: any page may open one.
    """
    known: Authentication = request.app.state.authentication
    cookie = request.cookies.get(COOKIE)
    person = await known.sessions.caller_of(cookie) if cookie else None
    if person is not None:
        safe = request.scope.get("method") in SAFE
        if not safe and not from_here(request):
            raise errors.Forbidden(ELSEWHERE)
        return person
    scheme, _, key = request.headers.get("authorization", "").partition(" ")
    if scheme.lower() != "bearer":
        return None
    for credentials in known.bearers:
        if (caller := await credentials.caller_of(key.strip())) is not None:
            return caller
    return None


def from_here(request: HTTPConnection) -> bool:
    """Whether a page of ours sent it, or no browser did."""
    known: Authentication = request.app.state.authentication
    return known.front.is_own_page(request, known.origins)


class _Identified(SecurityBase):
    """The caller; OpenAPI describes it as a way to say who is calling. One dependency for both: each costs every request
    that has it, several times where others depend on it.
    """

    def __init__(self, scheme: SecurityBase) -> None:
        self.model, self.scheme_name = scheme.model, scheme.scheme_name

    async def __call__(self, request: Request) -> Caller | None:
        return await caller_of(request)


identified = _Identified(HTTPBearer(description="an API key"))
identified_by_cookie = _Identified(APIKeyCookie(name=COOKIE, description="of a login"))

Anyone = Annotated[Caller | None, Depends(identified)]
"""For routes without a login: None is a stranger, and so is whoever shows a credential that is not valid."""


async def authenticated(caller: Anyone) -> Caller:
    """Raises 401 in the contract's form."""
    if caller is None:
        raise HTTPException(401, "Unauthorized", headers={"WWW-Authenticate": "Bearer"})
    return caller


ScopedReader = Annotated[Caller, Depends(authenticated)]
"""For routes that themselves keep to ``Caller.collection_ids``, or that no collection has to do with."""


async def may_write(unknown: Anyone) -> Caller:
    caller = await authenticated(unknown)
    if caller.scope is Scope.READ:
        raise errors.Forbidden("This API key may read and search only: use one with the scope 'all'")
    if caller.role is Role.RO:
        raise errors.Forbidden("This user may read and search only")
    return caller


ScopedWriter = Annotated[Caller, Depends(may_write)]


def keep_within(caller: Caller, collection_id: str | None) -> None:
    """Raises where a key that is limited to collections is used for another one, or for what is in none."""
    if caller.collection_ids is None:
        return
    if collection_id is None:
        message = "This API key is limited to some collections and reaches nothing else: use one without this limit"
        raise errors.Forbidden(message)
    if collection_id not in caller.collection_ids:
        raise errors.CollectionNotFound(f"Collection {collection_id} not found")


def keep_within_chat(caller: Caller, chat_id: str) -> None:
    """Raises where an agent looks into another chat than its turn's, or a key is limited to collections."""
    if caller.credential.kind is not CredentialKind.TURN:
        keep_within(caller, None)
    elif caller.chat_id != chat_id:
        raise errors.ChatNotFound(f"Chat {chat_id} not found")


async def reads_within(request: Request, unknown: Anyone) -> Caller:
    caller = await authenticated(unknown)
    keep_within(caller, request.path_params.get("collection_id"))
    return caller


Reader = Annotated[Caller, Depends(reads_within)]
"""Closed to keys that are limited to collections, except for the routes of these very collections."""


async def writes_within(request: Request, unknown: Anyone) -> Caller:
    caller = await may_write(unknown)
    keep_within(caller, request.path_params.get("collection_id"))
    return caller


Writer = Annotated[Caller, Depends(writes_within)]
"""As ``Reader``."""


async def visits_within(request: Request, caller: Anyone) -> Caller | None:
    if caller is not None:
        keep_within(caller, request.path_params.get("collection_id"))
    return caller


Visiting = Annotated[Caller | None, Depends(visits_within)]
"""As ``Reader``, for routes without a login."""


async def holds_every_right(caller: ScopedReader) -> Caller:
    if caller.limited:
        message = (
            "This API key is limited in what it reaches or in time, so it manages neither accounts, keys nor sharing:"
            " use a login or another key"
        )
        raise errors.Forbidden(message)
    return caller


Unlimited = Annotated[Caller, Depends(holds_every_right)]
"""For what would let a limited key make itself, or others, a stronger one."""


async def may_manage(caller: ScopedWriter) -> Caller:
    return await holds_every_right(caller)


Manager = Annotated[Caller, Depends(may_manage)]
"""``Unlimited``, and not of the role ``ro``."""


async def may_administer(caller: ScopedReader) -> Caller:
    if caller.role is Role.ADMIN:
        return caller
    if caller.limited:
        raise HTTPException(403, "Only an administrator may do this, by a login or with a key that is not limited")
    raise HTTPException(403, "Only an administrator may do this")


Admin = Annotated[Caller, Depends(may_administer)]


async def may_appoint(caller: Admin) -> Caller:
    return await holds_every_right(caller)


Appointer = Annotated[Caller, Depends(may_appoint)]
"""``Admin``, and ``Unlimited``: who is let in by this outlives the credential that did it."""
