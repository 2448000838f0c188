"""Routes of sign-ins with a provider (contract 1.1)."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query, Request, Response
from fastapi.responses import RedirectResponse

from aperag_api.identity.oauth.flow import LIFETIME
from aperag_api.identity.oauth.schemas import Authorization
from aperag_api.identity.oauth.service import Returned
from aperag_api.identity.services import Services
from aperag_api.identity.sessions import cookies
from aperag_api.identity.sessions.endpoints import SeenVisitor

router = APIRouter(prefix="/auth", tags=["users"])

Given = Annotated[str, Query(max_length=4096)]


@router.get("/{provider}/authorize")
async def authorize(provider: str, request: Request, response: Response, services: Services) -> Authorization:
    """Where to send the browser; it must come back with the cookie that this answer sets."""
    url, sealed = await services.oauth.authorize(provider)
    seconds, secure = int(LIFETIME.total_seconds()), services.front.secure(request)
    response.set_cookie(_name(provider), sealed, max_age=seconds, httponly=True, samesite="lax", secure=secure)
    return Authorization(authorization_url=url)


@router.get("/{provider}/callback", status_code=204, response_class=Response)
async def callback(
    provider: str,
    who: SeenVisitor,
    request: Request,
    services: Services,
    code: Given = "",
    state: Given = "",
    error: Given = "",
) -> Response:
    """What a browser brings back from the provider; sets the session's cookie."""
    returned = Returned(code, state, error, request.cookies.get(_name(provider), ""))
    token = await services.oauth.finish(provider, returned, who)
    lands = services.oauth.landing_url if "text/html" in request.headers.get("accept", "") else None
    response = Response(status_code=204) if lands is None else RedirectResponse(lands, 303)
    secure = services.front.secure(request)
    cookies.give(response, token, lifetime=services.sessions.lifetime, secure=secure)
    response.delete_cookie(_name(provider), httponly=True, samesite="lax", secure=secure)
    return response


def _name(provider: str) -> str:
    return f"aperag_oauth_{provider}"
