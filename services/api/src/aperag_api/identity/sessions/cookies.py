"""The session's cookie, and how an answer sets and takes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from aperag_api.kernel.auth import COOKIE

if TYPE_CHECKING:
    from datetime import timedelta

    from starlette.responses import Response


def give(response: Response, token: str, *, lifetime: timedelta, secure: bool) -> None:
    """``secure``: the request came over TLS, so the browser is to send the cookie over TLS only."""
    seconds = int(lifetime.total_seconds())
    response.set_cookie(COOKIE, token, max_age=seconds, httponly=True, samesite="lax", secure=secure)


def take(response: Response, *, secure: bool) -> None:
    response.delete_cookie(COOKIE, httponly=True, samesite="lax", secure=secure)
