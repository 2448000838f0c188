"""What every answer says: the name of its request, and to browsers that it is data, for whoever asked, and no page."""

from __future__ import annotations

import re
import uuid
from typing import TYPE_CHECKING

from starlette.requests import HTTPConnection
from structlog.contextvars import bound_contextvars

if TYPE_CHECKING:
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from aperag_common.http.front import Front

REQUEST_ID = "X-Request-ID"
_REQUEST_ID = REQUEST_ID.lower().encode()
_SANE = re.compile(r"[A-Za-z0-9._-]{1,64}")

ALWAYS = {
    b"x-content-type-options": b"nosniff",
    b"x-frame-options": b"DENY",
    b"referrer-policy": b"no-referrer",
    b"cross-origin-resource-policy": b"same-origin",
}
UNLESS_SAID = {
    b"content-security-policy": b"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'",
    b"cache-control": b"no-store",
}
"""What a route may say otherwise."""

OVER_TLS = {b"strict-transport-security": b"max-age=31536000"}
"""Of this host: its neighbours are not ours to decide for."""


class Answers:
    """A client's own request id is kept where it could harm no log; else one is made. Log lines and the audit log carry it."""

    def __init__(self, app: ASGIApp, front: Front) -> None:
        self._app = app
        self._front = front

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        request_id = named(_given(scope))
        scope.setdefault("state", {})["request_id"] = request_id

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                ours = {**ALWAYS, _REQUEST_ID: request_id.encode()}
                if self._front.secure(HTTPConnection(scope)):
                    ours |= OVER_TLS
                said = [(name.lower(), value) for name, value in message.get("headers", ())]
                names = {name for name, _ in said}
                kept = [header for header in said if header[0] not in ours] if names & ours.keys() else said
                more = [header for header in UNLESS_SAID.items() if header[0] not in names]
                message["headers"] = [*kept, *ours.items(), *more]
            await send(message)

        with bound_contextvars(request_id=request_id):
            await self._app(scope, receive, answer)


def named(given: str | None) -> str:
    """The request's id: the one that was given, if it is sane."""
    return given if given is not None and _SANE.fullmatch(given) else uuid.uuid4().hex


def _given(scope: Scope) -> str | None:
    return next((value.decode("latin-1") for name, value in scope["headers"] if name == _REQUEST_ID), None)
