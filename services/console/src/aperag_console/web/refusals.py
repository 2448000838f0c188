"""What a person sees where the gateway refused, or did not answer."""

from __future__ import annotations

from http import HTTPStatus
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from starlette.responses import JSONResponse, RedirectResponse, Response

from aperag_console.gateway.failures import GatewayFailure
from aperag_console.web import flash
from aperag_console.web.page import open_door
from aperag_console.web.protection import SAFE

if TYPE_CHECKING:
    from starlette.requests import Request

    from aperag_console.web.texts import Texts

SIGN_IN = "/signin"


async def on_failure(request: Request, failure: Exception) -> Response:
    """A script is told in JSON, a form goes back to its page with the reason, a page says it itself."""
    if not isinstance(failure, GatewayFailure):
        raise failure
    page = open_door(request)
    sentence = sentence_of(failure, page.texts)
    if "text/html" not in request.headers.get("accept", ""):
        body = {"message": sentence, "code": failure.code, "trace_id": failure.trace_id}
        return JSONResponse(body, failure.shown_as)
    if failure.unauthorized and request.url.path != SIGN_IN:
        return to_sign_in(request)
    if request.method not in SAFE:
        response = RedirectResponse(page_before(request), 303)
        flash.write(response, sentence, bad=True)
        return response
    return page.render(
        "problem.html", failure.shown_as, number=failure.shown_as, sentence=sentence, trace_id=failure.trace_id
    )


async def on_missing(request: Request, missing: Exception) -> Response:
    """Addresses that there are none of here."""
    status = getattr(missing, "status_code", HTTPStatus.NOT_FOUND)
    page = open_door(request)
    return page.render("problem.html", status, number=status, sentence=page.texts("failure.no_page"), trace_id="")


def sentence_of(failure: GatewayFailure, texts: Texts) -> str:
    said = texts.by_key.get(failure.message, failure.message)
    if failure.retry_after:
        said = f"{said.rstrip('.')}. {texts('failure.retry_after', seconds=failure.retry_after)}"
    return said


def to_sign_in(request: Request) -> Response:
    """And back afterwards, where this was a page."""
    target = request.url.path + (f"?{request.url.query}" if request.url.query else "")
    known = request.method in SAFE and target != "/"
    return RedirectResponse(f"{SIGN_IN}?next={quote(target)}" if known else SIGN_IN, 303)


def page_before(request: Request) -> str:
    """The page that a form was on; only its path, so that nobody is sent elsewhere."""
    parts = urlsplit(request.headers.get("referer", ""))
    return local(parts.path + (f"?{parts.query}" if parts.query else ""))


def local(target: str) -> str:
    """``target`` where it is a path of this site, else the first page."""
    known = target.startswith("/") and not target.startswith(("//", "/\\"))
    return target if known and target.isprintable() else "/"
