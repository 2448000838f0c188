"""One sentence for the next page, kept by the browser in between."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import quote, unquote

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

COOKIE = "said"
BAD_COOKIE = "refused"
SECONDS = 30
LONGEST = 1000


def write(response: Response, sentence: str, *, bad: bool = False) -> None:
    """``bad``: it tells of something that did not work."""
    name = BAD_COOKIE if bad else COOKIE
    response.set_cookie(name, quote(sentence[:LONGEST]), max_age=SECONDS, httponly=True, samesite="lax")


def read(request: Request) -> tuple[str, bool] | None:
    """The sentence, and whether it is a bad one."""
    for name in (BAD_COOKIE, COOKIE):
        if request.cookies.get(name):
            return unquote(request.cookies[name])[:LONGEST], name == BAD_COOKIE
    return None


def forget(response: Response) -> None:
    for name in (BAD_COOKIE, COOKIE):
        response.delete_cookie(name, httponly=True, samesite="lax")
