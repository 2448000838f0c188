"""Routes of logins (contract 1.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Request, Response

from aperag_api.gateway import Services
from aperag_api.sessions import cookies
from aperag_api.sessions.origins import same_origin
from aperag_api.sessions.schemas import LoggedOut, Login
from aperag_api.sessions.service import Visitor
from aperag_api.users.schemas import UserOut


def visitor(request: Request, services: Services) -> Visitor:
    return Visitor(services.identity.proxies.client(request), request.headers.get("user-agent", ""))


def meant(request: Request, services: Services) -> None:
    """Another site must neither log a person in as somebody else nor log them out."""
    if not same_origin(request.headers, services.identity.origins):
        raise HTTPException(403, "Another site's page sent this request: log in on a page of this one")


SeenVisitor = Annotated[Visitor, Depends(visitor)]
router = APIRouter(tags=["users"], dependencies=[Depends(meant)])


@router.post("/login")
async def login(body: Login, who: SeenVisitor, request: Request, response: Response, services: Services) -> UserOut:
    """Sets the session's cookie."""
    logged_in = await services.identity.logins.login(body.username, body.password, who)
    lifetime = services.identity.sessions.lifetime
    cookies.give(response, logged_in.token, lifetime=lifetime, secure=services.identity.proxies.secure(request))
    return UserOut.model_validate(logged_in.user)


@router.post("/logout")
async def logout(request: Request, response: Response, services: Services) -> LoggedOut:
    """Ends the session of the cookie, on all replicas at once."""
    await services.identity.sessions.revoke(request.cookies.get(cookies.COOKIE, ""))
    cookies.take(response, secure=services.identity.proxies.secure(request))
    return LoggedOut()
