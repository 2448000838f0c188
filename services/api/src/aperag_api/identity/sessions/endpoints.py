"""Routes of logins (contract 1.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from aperag_api.identity.accounts.schemas import UserOut
from aperag_api.identity.services import Services
from aperag_api.identity.sessions import cookies
from aperag_api.identity.sessions.schemas import LoggedOut, Login
from aperag_api.identity.sessions.service import Visitor
from aperag_api.kernel.auth import COOKIE, from_here
from aperag_common.http.front import ELSEWHERE


async def visitor(request: Request, services: Services) -> Visitor:
    return Visitor(services.front.client(request), request.headers.get("user-agent", ""))


async def meant(request: Request) -> None:
    """Another site must neither log a person in as somebody else nor log them out."""
    if not from_here(request):
        raise HTTPException(403, ELSEWHERE)


SeenVisitor = Annotated[Visitor, Depends(visitor)]
router = APIRouter(tags=["users"], dependencies=[Depends(meant)])


@router.post("/login")
async def login(body: Login, who: SeenVisitor, request: Request, response: Response, services: Services) -> UserOut:
    """Sets the session's cookie."""
    logged_in = await services.logins.login(body.username, body.password, who)
    lifetime = services.sessions.lifetime
    cookies.give(response, logged_in.token, lifetime=lifetime, secure=services.front.secure(request))
    return UserOut.model_validate(logged_in.user)


@router.post("/logout")
async def logout(request: Request, response: Response, services: Services) -> LoggedOut:
    """Ends the session of the cookie, on all replicas at once."""
    await services.sessions.revoke(request.cookies.get(COOKIE, ""))
    cookies.take(response, secure=services.front.secure(request))
    return LoggedOut()
